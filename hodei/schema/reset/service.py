"""A reset, from the first look to the last signal.

plan = plan_reset("default", ["shop"])        # what would go, with exact numbers of rows
reset(plan, confirm=plan.database, backup=Path("shop.dump"))
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from hodei.schema.backup import Backup, back_up
from hodei.schema.connection import connection_errors, require_postgresql
from hodei.schema.errors import SchemaError
from hodei.schema.reset.building import Builder, Signals
from hodei.schema.reset.guards import (
    ResetRefused,
    SchemaChanged,
    check_allowed,
    check_confirmed,
    check_rows,
    execute_all,
    hold,
)
from hodei.schema.reset.survey import Survey, survey
from hodei.schema.results import MigrationKey, MigrationResult
from hodei.schema.run.failures import MigrationBlocked, MigrationFailed
from hodei.schema.run.progress import Progress
from hodei.schema.run.start import migration_run
from hodei.schema.stakes import (
    ACCESS_EXCLUSIVE,
    EXCLUSIVE,
    Content,
    Session,
    contents_of,
    sessions_in,
)

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper
    from django.db.migrations.state import ProjectState

    from hodei.schema.run.run import MigrationRun

_UNDONE = "Everything was rolled back: the database is as it was before the reset."


class ResetFailed(MigrationFailed):
    """A migration raised, and the reset was undone."""

    def __str__(self) -> str:
        failed = self.failure
        return (
            f"Migration {failed.app}.{failed.name} failed after {failed.duration_ms} ms: "
            f"{failed.error}. {_UNDONE}"
        )


class ResetBlocked(MigrationBlocked):
    """A migration did not get its locks, and the reset was undone."""

    def __str__(self) -> str:
        failed = self.failure
        who = "; ".join(map(str, self.blockers)) or "sessions that could not be seen"
        return (
            f"Migration {failed.app}.{failed.name} did not get its locks. In its way: {who}. "
            f"{_UNDONE}"
        )


class AfterwardsFailed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The reset is done and committed, and a receiver of ``post_migrate`` raised."""

    exit_code = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPlan:
    """What was looked at, for a person to confirm. Plain values; it holds no lock."""

    using: str
    survey: Survey
    #: What each table that goes holds.
    contents: Mapping[str, Content]
    #: Who is in these tables at the moment.
    sessions: tuple[Session, ...]

    @property
    def database(self) -> str:
        """The name that has to be given to ``reset`` as ``confirm``."""
        return self.survey.database

    @property
    def rows(self) -> Mapping[str, int]:
        """The exact number of rows of each table that goes."""
        return {table: content.rows for table, content in self.contents.items()}

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why there can be no reset; empty where there can be one."""
        return self.survey.obstacles


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetResult:
    """What was done, all of it committed."""

    dropped: tuple[MigrationKey, ...]
    #: In the order in which they ran.
    built: tuple[MigrationResult, ...]
    #: None where there was none to be made, or no table to put into it.
    backup: Backup | None
    #: The command that puts the backup back; None without one.
    restore: str | None


def plan_reset(
    using: str, labels: Sequence[str] = (), *, progress: Progress | None = None
) -> ResetPlan:
    """Look what a reset of these apps would do, by default those that say ``schema_owned``.

    Changes nothing. It looks while no migrate runs, and waits for one that does. Raises
    AppsNotChosen, ReplayFailed where it cannot be told what belongs to the apps, and what
    ``migration_run`` raises.
    """
    connection = require_postgresql(using)
    with (
        connection_errors(using),
        migration_run(using, command="plan_reset", progress=progress),
        connection.cursor() as cursor,
    ):
        found = survey(using, labels)
        contents = contents_of(connection, found.tables)
        sessions = sessions_in(cursor, found.tables)
    return ResetPlan(using=using, survey=found, contents=contents, sessions=tuple(sessions))


def reset(
    plan: ResetPlan,
    *,
    confirm: str,
    backup: Path | None,
    terminate: bool = False,
    command: str = "reset",
    progress: Progress | None = None,
    told: Callable[..., None] | None = None,
    verbosity: int = 0,
    stdout: Any = None,
) -> ResetResult:
    """Drop what the plan says and build it again, in one transaction of its own.

    ``confirm`` is the database's name, given by whoever has seen the plan; ``backup`` is the file
    to write first, or None for none. ``terminate`` ends sessions that are in the way. Nothing is
    changed unless all of it is done. Raises the refusals of ``guards``, TablesBusy, BackupFailed,
    MigrationFailed, what ``migration_run`` raises, and AfterwardsFailed when it is done.
    """
    check_allowed()
    check_confirmed(confirm, plan.database)
    if plan.obstacles:
        raise ResetRefused(plan.obstacles)
    using, found, shown = plan.using, plan.survey, progress or Progress()
    connection = require_postgresql(using)
    signals = Signals(using, verbosity=verbosity, stdout=stdout)
    with connection_errors(using), migration_run(using, command=command, progress=shown) as run:
        if survey(using, found.apps) != found:
            raise SchemaChanged(
                "The schema has changed since it was looked at, by another migrate perhaps, so "
                "nothing was changed. Run again."
            )
        deed = _Deed(connection, plan, run, signals, terminate=terminate, tell=shown.say)
        try:
            with run.work(deed.steps()), run.as_one():
                saved = deed.secure(backup)
                state, steps = deed.rebuild(told)
        except Exception as error:
            failure = run.failure()
            if failure is None:
                raise
            raise _undone(failure) from error
        try:
            signals.after(state, steps)
        except Exception as error:
            raise AfterwardsFailed(
                f"The schema is reset, and a receiver of post_migrate failed afterwards: {error}. "
                "Correct it, and run migrate, which sends the signal again."
            ) from error
    return ResetResult(
        dropped=found.recorded,
        built=tuple(run.results[len(found.recorded) :]),
        backup=saved,
        restore=saved if saved is None else restore_command(connection, saved, found.partitioned),
    )


def restore_command(
    connection: DatabaseWrapper, backup: Backup, partitioned: Sequence[str] = ()
) -> str:
    """The line for a shell that puts a backup in the place of what was built. It asks for a
    password where one is needed.

    pg_restore --clean cannot drop the constraints of a partition one by one, so partitioned tables
    are dropped before.
    """
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415

    info = connection.connection.info
    target = make_conninfo(host=info.host, port=info.port, user=info.user, dbname=info.dbname)
    program = str(backup.restorer)
    words = [program, "--clean", "--if-exists", "--single-transaction", "--dbname", target]
    restoring = shlex.join([*words, str(backup.path)])
    if not partitioned:
        return restoring
    names = ", ".join('"{}"'.format(name.replace('"', '""')) for name in partitioned)
    drop = f"DROP TABLE IF EXISTS {names}"
    client = str(backup.restorer.with_name("psql"))
    return f"{shlex.join([client, '--dbname', target, '--command', drop])} && {restoring}"


class _Deed:
    """The steps inside the transaction."""

    def __init__(
        self,
        connection: DatabaseWrapper,
        plan: ResetPlan,
        run: MigrationRun,
        signals: Signals,
        *,
        terminate: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._survey = plan.survey
        self._run = run
        self._signals = signals
        self._terminate = terminate
        self._tell = tell

    def steps(self) -> list[tuple[Migration, bool]]:
        """What the run announces: names alone, since some may not be on disk."""
        gone = [(Migration(name, app), True) for app, name in reversed(self._survey.recorded)]
        return [*gone, *((Migration(name, app), False) for app, name in self._survey.builds)]

    def secure(self, path: Path | None) -> Backup | None:
        """Nobody writes from here on; what is there is what was confirmed, and is in a file."""
        found, everybody = self._survey, [*self._survey.tables, *self._survey.partitioned]
        with self._connection.cursor() as cursor:
            # This session does nothing while the backup is written, however long that takes.
            cursor.execute(
                "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN "
                "('idle_in_transaction_session_timeout', 'transaction_timeout')"
            )
        hold(self._connection, everybody, EXCLUSIVE, terminate=self._terminate, tell=self._tell)
        check_rows(self._plan.contents, contents_of(self._connection, found.tables))
        saved = None
        if path is not None and found.tables:
            saved = back_up(self._connection, sorted(found.tables), path, also=found.others)
            self._tell(f"backed up {len(found.tables)} tables into {saved.path}")
        hold(
            self._connection,
            everybody,
            ACCESS_EXCLUSIVE,
            terminate=self._terminate,
            tell=self._tell,
        )
        return saved

    def rebuild(
        self, told: Callable[..., None] | None
    ) -> tuple[ProjectState, list[tuple[Migration, bool]]]:
        connection, found = self._connection, self._survey
        executor: Any = MigrationExecutor(connection)
        state = executor._create_project_state(with_applied_migrations=True)  # noqa: SLF001
        with self._run.dropping(found.recorded[::-1]):
            records: Any = MigrationRecorder(connection)
            if records.has_table():
                records.migration_qs.filter(app__in=found.apps).delete()
            builder = Builder(connection, self._run, found.builds, told)
            self._signals.before(state, builder.plan)
            execute_all(
                connection,
                found.statements,
                [*found.tables, *self._neighbours()],
                terminate=self._terminate,
                tell=self._tell,
            )
        return builder.build(), builder.plan

    def _neighbours(self) -> list[str]:
        """Tables that ours refer to: to drop a foreign key takes a lock on both ends."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT other.relname FROM pg_constraint key "
                "JOIN pg_class other ON other.oid = key.confrelid "
                "JOIN pg_class own ON own.oid = key.conrelid "
                "WHERE key.contype = 'f' AND own.relname = ANY(%s) "
                "AND own.relnamespace = current_schema()::regnamespace",
                [list(self._survey.tables)],
            )
            return [name for (name,) in cursor.fetchall()]


def _undone(failure: MigrationFailed) -> MigrationFailed:
    if isinstance(failure, MigrationBlocked):
        return ResetBlocked(failure.results, failure.attempts, failure.blockers)
    return ResetFailed(failure.results)
