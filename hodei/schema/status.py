"""Which migrations there are, and the state of each: the files against ``django_migrations``, and
what the history tells beside.

Read-only: where the table does not exist yet, everything is pending and nothing is created.
Replaced (squashed) migrations are Django's loader's business; what it keeps in its graph is what
``migrate`` would run, and therefore what is expected here. The history may lack anything: what is
not in it was applied by others, which is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from django.db import DEFAULT_DB_ALIAS
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    NodeNotFoundError,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from hodei.schema.connection import connection_errors, require_postgresql
from hodei.schema.errors import SchemaError
from hodei.schema.graph import conflicts, inconsistencies
from hodei.schema.history import TABLE as HISTORY
from hodei.schema.history import accept
from hodei.schema.past import NO_PAST, Past, checksum_now, is_third_party, read_past
from hodei.schema.results import (
    Finding,
    FindingKind,
    MigrationKey,
    SchemaValidationResult,
    Severity,
)
from hodei.schema.run.origin import origin_of

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper


class MigrationGraphBroken(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The files on disk make no graph, so there is nothing to compare the database with."""

    exit_code = 2


class MigrationTableHidden(SchemaError):  # noqa: N818
    """The role sees no schema, so an empty answer would say nothing about the database."""

    exit_code = 3


class MigrationState(StrEnum):
    """How a migration on disk and the database's record of it agree."""

    #: On disk and recorded, itself or through every migration it replaces.
    APPLIED = "applied"
    #: The same, and it was only recorded: what it says was never run here.
    FAKED = "faked"
    #: Applied, and its source has been changed since, in more than comments and layout.
    EDITED = "edited"
    #: On disk, not recorded: ``migrate`` would run it.
    PENDING = "pending"
    #: Pending, and its last attempt failed or was interrupted.
    FAILED = "failed"
    #: Pending, and a newer one of its app, which does not depend on it, is applied.
    OUT_OF_ORDER = "out of order"
    #: Recorded, not on disk: newer code wrote it, or its file or its app is gone.
    UNKNOWN = "unknown"


#: The states of what the database has, of those that the project expects.
APPLIED_STATES = frozenset({MigrationState.APPLIED, MigrationState.FAKED, MigrationState.EDITED})
#: The states of what ``migrate`` would run.
PENDING_STATES = frozenset(
    {MigrationState.PENDING, MigrationState.FAILED, MigrationState.OUT_OF_ORDER}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """One migration and its state."""

    app: str
    name: str
    state: MigrationState
    #: In UTC; None while it is pending. For a replacement, when the last of the replaced ones was
    #: applied: that changed the tables, while its own record only says that Django noticed.
    applied_at: datetime | None
    #: ``django_migrations.id`` of the same record: the order in which migrations were applied.
    record_id: int | None
    #: How it ran, from the history; None where it did not run, or others applied it.
    duration_ms: int | None = None
    #: The database role that applied it, or tried last; None where the history does not know.
    applied_by: str | None = None
    #: Applied without a trace in the history: by plain Django, or before this app was installed.
    external: bool = False
    #: Of the last attempt, where it failed.
    error: str | None = None
    #: The row of the history that this is from.
    run: int | None = None
    #: Whether it comes with an installed package: then an edit is an update of that package.
    third_party: bool = False

    @property
    def key(self) -> MigrationKey:
        return self.app, self.name


class Record(NamedTuple):
    """What ``django_migrations`` says of a migration; they sort as they were applied."""

    id: int
    applied_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStatus:
    """All migrations, apps by name, inside an app as the graph orders them, unknown ones last."""

    migrations: tuple[MigrationStatus, ...]
    #: Conflicts and broken order; what a migration's state tells is found in ``migrations``.
    problems: tuple[Finding, ...]
    #: The labels one may ask about: installed, or recorded in the database.
    app_labels: frozenset[str]

    def validation(self, apps: Sequence[str] = ()) -> SchemaValidationResult:
        """Judge it, or only the part that belongs to these apps."""
        chosen = [status for status in self.migrations if not apps or status.app in apps]

        def keys(*states: MigrationState) -> tuple[MigrationKey, ...]:
            return tuple(status.key for status in chosen if status.state in states)

        problems = [
            problem
            for problem in self.problems
            if not apps or problem.subject.partition(".")[0] in apps
        ]
        told = [finding for status in chosen if (finding := _finding(status))]
        last = max(chosen, key=lambda status: status.record_id or 0, default=None)
        return SchemaValidationResult(
            applied_migrations=keys(*APPLIED_STATES),
            expected_migrations=keys(*APPLIED_STATES, *PENDING_STATES),
            pending_migrations=keys(MigrationState.PENDING, MigrationState.OUT_OF_ORDER),
            failed_migrations=keys(MigrationState.FAILED),
            last_migration=last.key if last and last.record_id else None,
            findings=(*problems, *told),
        )


def read_status(using: str = DEFAULT_DB_ALIAS) -> SchemaStatus:
    """Read files and table. Writes nothing, and takes no lock beyond that of a SELECT.

    Raises ConnectionFailed, EngineNotSupported, MigrationGraphBroken or MigrationTableHidden;
    what a migration's own module raises on import passes.
    """
    connection = require_postgresql(using)
    with connection_errors(using):
        try:
            loader = MigrationLoader(connection, ignore_no_migrations=True)
        except (BadMigrationError, CircularDependencyError, NodeNotFoundError) as error:
            raise MigrationGraphBroken(
                f"The migrations on disk make no graph: {str(error).rstrip('.')}. "
                "Correct the dependencies, or bring the missing file back."
            ) from error
        if loader.applied_migrations:
            recorded, has_history = _read_records(connection)
        else:
            recorded, has_history = _read_what_there_is(connection)
        past = read_past(connection) if has_history else NO_PAST
    return SchemaStatus(
        migrations=tuple(_statuses(loader, recorded, past)),
        problems=(*conflicts(loader), *inconsistencies(loader)),
        app_labels=frozenset(
            loader.migrated_apps | loader.unmigrated_apps | {app for app, _ in recorded}
        ),
    )


def _read_records(connection: DatabaseWrapper) -> tuple[dict[MigrationKey, Record], bool]:
    """The table's rows, and whether there is a history, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT app, name, id, applied, to_regclass('{HISTORY}') IS NOT NULL "
            "FROM django_migrations"
        )
        rows = cursor.fetchall()
    recorded = {(row[0], row[1]): Record(row[2], in_utc(row[3])) for row in rows}
    return recorded, any(row[4] for row in rows)


def _read_what_there_is(
    connection: DatabaseWrapper,
) -> tuple[dict[MigrationKey, Record], bool]:
    """The same where the table may be missing, or nothing at all can be seen."""
    tables = connection.introspection.table_names()
    if MigrationRecorder.Migration._meta.db_table in tables:
        return _read_records(connection)[0], HISTORY in tables
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_user")
        schema, role = cursor.fetchone()
    if schema is None:
        raise MigrationTableHidden(
            f"Role {role!r} can use no schema in its search_path, so django_migrations cannot be "
            "seen: GRANT USAGE ON SCHEMA to it, or correct its search_path."
        )
    return {}, HISTORY in tables


def accept_edit(using: str, key: MigrationKey, *, reason: str) -> None:
    """Record that the text of an edited migration is meant to be what it is now.

    Raises what a failing statement raises: the history is there, or nothing would be edited.
    """
    connection = require_postgresql(using)
    migration = MigrationLoader(connection).disk_migrations[key]
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (role,) = cursor.fetchone()
    accept(
        using,
        key,
        checksum=checksum_now(migration) or "",
        reason=reason,
        origin=origin_of("schema_status --accept", role),
    )


def _statuses(
    loader: MigrationLoader, recorded: Mapping[MigrationKey, Record], past: Past
) -> Iterator[MigrationStatus]:
    replaces = {key: tuple(found.replaces) for key, found in loader.replacements.items()}
    known = set(loader.disk_migrations).union(*replaces.values())
    unknown: dict[str, list[MigrationKey]] = {}
    for key in recorded:
        if key not in known:
            unknown.setdefault(key[0], []).append(key)
    for app in sorted(loader.migrated_apps | unknown.keys()):
        order = _in_graph_order(loader, app)
        for key in order:
            if key in loader.applied_migrations:
                record = _record_of(key, recorded, replaces)
                yield _applied(loader, key, record, past, replaces)
            else:
                yield _pending(loader, key, past, order)
        for key in sorted(unknown.get(app, ()), key=lambda key: recorded[key]):
            done = past.applied(key)
            yield MigrationStatus(
                app=key[0],
                name=key[1],
                state=MigrationState.UNKNOWN,
                applied_at=recorded[key].applied_at,
                record_id=recorded[key].id,
                duration_ms=done.duration_ms if done else None,
                applied_by=done.by if done else None,
                external=done is None,
                run=done.run if done else None,
            )


def _applied(
    loader: MigrationLoader,
    key: MigrationKey,
    record: Record | None,
    past: Past,
    replaces: Mapping[MigrationKey, Sequence[MigrationKey]],
) -> MigrationStatus:
    done = past.applied(key) or past.applied_last(_all_replaced(key, replaces))
    migration = loader.disk_migrations[key]
    state = MigrationState.APPLIED
    if done is not None and done.faked:
        state = MigrationState.FAKED
    elif past.is_edited(key, migration):
        state = MigrationState.EDITED
    return MigrationStatus(
        app=key[0],
        name=key[1],
        state=state,
        applied_at=record.applied_at if record else None,
        record_id=record.id if record else None,
        duration_ms=done.duration_ms if done else None,
        applied_by=done.by if done else None,
        external=done is None,
        run=done.run if done else None,
        third_party=is_third_party(migration),
    )


def _pending(
    loader: MigrationLoader, key: MigrationKey, past: Past, order: Sequence[MigrationKey]
) -> MigrationStatus:
    failed = past.failed(key)
    state = MigrationState.PENDING
    if failed is not None:
        state = MigrationState.FAILED
    elif _is_out_of_order(loader, key, order):
        state = MigrationState.OUT_OF_ORDER
    return MigrationStatus(
        app=key[0],
        name=key[1],
        state=state,
        applied_at=None,
        record_id=None,
        duration_ms=failed.duration_ms if failed else None,
        applied_by=failed.by if failed else None,
        error=failed.error if failed else None,
        run=failed.run if failed else None,
        third_party=is_third_party(loader.disk_migrations[key]),
    )


def _is_out_of_order(
    loader: MigrationLoader, key: MigrationKey, order: Sequence[MigrationKey]
) -> bool:
    """One that depends on it and is applied is another fault: see ``_inconsistencies``."""
    return any(
        other[1] > key[1]
        and other in loader.applied_migrations
        and key not in loader.graph.forwards_plan(other)
        for other in order
    )


def _all_replaced(
    key: MigrationKey, replaces: Mapping[MigrationKey, Sequence[MigrationKey]]
) -> Iterator[MigrationKey]:
    for replaced in replaces.get(key, ()):
        yield replaced
        yield from _all_replaced(replaced, replaces)


def _in_graph_order(loader: MigrationLoader, app: str) -> list[MigrationKey]:
    order: dict[MigrationKey, None] = {}
    for leaf in loader.graph.leaf_nodes(app):
        order.update(dict.fromkeys(loader.graph.forwards_plan(leaf)))
    return [key for key in order if key[0] == app]


def _record_of(
    key: MigrationKey,
    recorded: Mapping[MigrationKey, Record],
    replaces: Mapping[MigrationKey, Sequence[MigrationKey]],
) -> Record | None:
    found = (_record_of(replaced, recorded, replaces) for replaced in replaces.get(key, ()))
    last = max((record for record in found if record is not None), default=None)
    return last or recorded.get(key)


def in_utc(instant: datetime) -> datetime:
    # Without USE_TZ Django reads the column as local time.
    aware = timezone.make_aware(instant) if timezone.is_naive(instant) else instant
    return aware.astimezone(UTC)


def _finding(status: MigrationStatus) -> Finding | None:
    """What a migration's state alone is reason to tell."""
    label = f"{status.app}.{status.name}"
    if status.state is MigrationState.UNKNOWN:
        kind = FindingKind.UNKNOWN
        text = (
            f"Migration {label} is recorded as applied and not on disk. Newer code has run here, "
            "or the file or its app was removed."
        )
    elif status.state is MigrationState.EDITED and not status.third_party:
        kind = FindingKind.EDITED
        text = (
            f"Migration {label} has been edited since it ran here, so this database may differ "
            "from a new one. Undo the edit and add a migration, or, if it is meant, record it: "
            f"schema_status --accept {status.app} {status.name} --reason TEXT."
        )
    elif status.state is MigrationState.OUT_OF_ORDER:
        kind = FindingKind.OUT_OF_ORDER
        text = (
            f"Migration {label} is not applied, and newer ones of its app are. They do not depend "
            "on it, so migrate will run it now: check that the order does not matter."
        )
    else:
        return None
    return Finding(kind=kind, severity=Severity.WARNING, subject=label, message=text)
