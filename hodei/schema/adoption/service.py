"""Adopts a database: repairs what differs from the baselines, records them, and migrates on.

    found = survey("default")
    adopt("default", found.plan)

All of it happens under the lock of the run. The repairs and the records of all baselines are one
transaction; what ``migrate`` runs before and after has its own. So a process that dies leaves a
database that was not touched, or one that is adopted and not yet at head, and another goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import Error, connections
from django.db.migrations.loader import MigrationLoader

from hodei.schema import conf
from hodei.schema.adoption.baselines import labels
from hodei.schema.adoption.plan import Plan, Survey
from hodei.schema.adoption.survey import survey, tables_of
from hodei.schema.adoption.transaction import AdoptionRefused, AdoptionTransaction, PlanChanged
from hodei.schema.connection import connection_errors
from hodei.schema.errors import SchemaError
from hodei.schema.results import Finding, FindingKind, SchemaValidationResult
from hodei.schema.run.failures import is_blocked, sqlstate_of
from hodei.schema.run.progress import Progress
from hodei.schema.run.start import migration_run
from hodei.schema.validation import validate

if TYPE_CHECKING:
    from hodei.schema.run.run import MigrationRun

_VIOLATION = "23"


class RowsUnfit(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """Everything is adopted and migrated, but for a constraint that old rows break."""


class NotValidated(SchemaError):  # noqa: N818
    """Everything is adopted and migrated, and a table was locked when its rows were to be read."""

    exit_code = 4


def adopt(
    using: str,
    agreed: Plan | None,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    out: Any = None,
    lock_retries: int = conf.LOCK_RETRIES,
) -> SchemaValidationResult:
    """Carry out a plan of ``survey``, or, where that found none, go on with what broke off.

    ``tell`` gets a line for each part that is done; ``out`` is where ``migrate`` writes. Owns its
    transactions. Raises AdoptionRefused, PlanChanged, RepairFailed, RowsUnfit, TablesBusy,
    MigrationFailed, and what ``survey`` and ``migration_run`` raise. Returns the validation that
    ends it, valid or not.
    """
    said = tell or _nobody
    with (
        connection_errors(using),
        migration_run(
            using, command="schema_adopt", lock_retries=lock_retries, progress=progress
        ) as run,
    ):
        # Another one may have done it while this one waited for the lock.
        found = survey(using)
        try:
            if found.plan is not None:
                adopt_baselines(using, run, found, agreed, out=out, retries=lock_retries)
                said(_told(found.plan))
            _migrate(using, out)
        except (SchemaError, CommandError):
            raise
        except Exception as error:
            failure = run.failure()
            if failure is None:
                raise
            raise failure from error
        return _finish(using, said)


def adopt_baselines(
    using: str,
    run: MigrationRun,
    found: Survey,
    agreed: Plan | None,
    *,
    out: Any = None,
    retries: int = conf.LOCK_RETRIES,
) -> None:
    """What the baselines depend on, by ``migrate``, and then their one transaction; no more.

    ``found`` is the survey under the run's lock. Raises as ``adopt`` does.
    """
    if found.plan is None or found.ground is None:
        return
    if found.plan.obstacles:
        raise AdoptionRefused(f"Nothing was changed. {' '.join(found.plan.obstacles)}")
    if agreed is None or found.plan.changes() != agreed.changes():
        raise PlanChanged(
            "The database has been changed since the plan was made, so nothing was done: run again "
            "to see what it would be now."
        )
    for app, name in found.before:
        _migrate(using, out, app, name)
    connection = connections[using]
    transaction = AdoptionTransaction(
        connection,  # type: ignore[arg-type]
        run,
        MigrationLoader(connection, ignore_no_migrations=True),
        agreed=agreed,
        ground=found.ground,
    )
    transaction.carry_out(retries=retries)


def _migrate(using: str, out: Any, *target: str) -> None:
    options = {"verbosity": 0} if out is None else {"verbosity": 1, "stdout": out}
    call_command(migrate.Command(), *target, database=using, interactive=False, **options)


def _finish(using: str, tell: Callable[[str], None]) -> SchemaValidationResult:
    """Hold old rows against the constraints that were made for new ones, and validate.

    They are read now, each by itself and while others read and write, and not while the tables
    were locked.
    """
    result = validate(using)
    unread = list(_unread(result))
    for finding in unread:
        try:
            with connections[using].cursor() as cursor:
                for statement in finding.repair:
                    cursor.execute(statement)
        except Error as error:
            raise (_why_unread(finding, error) or error) from error
        tell(f"Validated {finding.subject}.")
    return validate(using) if unread else result


def _unread(result: SchemaValidationResult) -> list[Finding]:
    found = [one for one in result.findings if one.kind is FindingKind.NOT_VALID]
    ours = tables_of(labels()) if found else set()
    return [one for one in found if one.table in ours]


def _why_unread(finding: Finding, error: Error) -> SchemaError | None:
    words = " ".join(str(error).split())
    state = f'The database is adopted and migrated, but {finding.subject} is not valid ("{words}")'
    if is_blocked(error):
        return NotValidated(
            f"{state}: another session has locked {finding.table}. It holds for new rows; run "
            "again for the old ones."
        )
    if str(sqlstate_of(error)).startswith(_VIOLATION):
        return RowsUnfit(
            f"{state}: old rows of {finding.table} break it. It holds for new ones; correct the "
            "old ones and run again."
        )
    return None


def _told(plan: Plan) -> str:
    names = ", ".join(".".join(key) for app in plan.apps for key in app.baseline.migrations)
    repairs = sum(bool(step.statements) for app in plan.apps for step in app.steps)
    imported = sum(one.count for one in plan.imports)
    parts = [f"{repairs} repairs" if repairs != 1 else "1 repair"]
    if imported:
        parts.append(f"{imported} imported records")
    return f"Adopted {names}, with {' and '.join(parts)}, in one transaction."


def _nobody(_line: str) -> None:
    """Tells nobody."""
