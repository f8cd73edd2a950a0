"""What one can ask of a schema: is it reachable, bring it up to date, is it valid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from django.core.management import call_command
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS

from hodei.schema.connection import check_connection, connection_errors
from hodei.schema.history import read_runs
from hodei.schema.reset.service import ResetPlan, ResetResult, plan_reset, reset
from hodei.schema.results import MigrationResult, SchemaValidationResult
from hodei.schema.rollback.service import go_back
from hodei.schema.rollback.targets import After, Last, Since, Wish
from hodei.schema.run.failures import MigrationFailed
from hodei.schema.run.start import migration_run
from hodei.schema.status import read_status
from hodei.schema.validation import Comparison, validate

__all__ = ["MigrationFailed", "MigrationService", "run_migrations"]

logger = logging.getLogger(__name__)


class MigrationService:
    """The migrations of one database.

    Nothing is cached: each call reads files and database anew.
    """

    def __init__(self, using: str = DEFAULT_DB_ALIAS) -> None:
        self.using = using

    def check_connection(self) -> None:
        """Return if the database answers; raise ConnectionFailed or EngineNotSupported if not."""
        check_connection(self.using)

    def run_all(self) -> list[MigrationResult]:
        """Apply every pending migration, as Django's ``migrate`` does it, its signals included.

        Waits while another run holds the lock of this database, and records every attempt. Owns its
        transactions: one for each atomic migration. Stops at the first failure with
        MigrationFailed, which carries what ran before. What ``migrate`` refuses before it runs
        anything (conflicting leaves, inconsistent history) passes as Django raises it; so do the
        reasons of ``migration_run`` for not beginning.
        Returns the results in the order applied; empty if nothing was pending.
        """
        with connection_errors(self.using), migration_run(self.using, command="run_all") as run:
            try:
                call_command(migrate.Command(), database=self.using, interactive=False, verbosity=0)
            except Exception as error:
                failure = run.failure()
                if failure is None:
                    raise
                raise failure from error
        return run.results

    def rollback(
        self, *, steps: int = 1, allow_data_loss: bool = False, backup: Path | None = None
    ) -> list[MigrationResult]:
        """Undo the migrations of all apps that were applied last, by ``django_migrations.id``.

        Owns its transactions: one for all steps, or one for each where a step is not atomic. What
        depends on them is undone first. Returns one result for each, in the order undone; empty if
        nothing is applied.

        Nothing is touched, and a SchemaError with exit code 1 is raised, where one is of an app
        that is not ``schema_owned``, one is irreversible, or rows or values would be lost and that
        is not allowed. ``backup`` is a new file for the tables that lose something. For what else
        is raised see ``rollback.service.go_back``.
        """
        return self._go_back(Last(steps), f"rollback {steps}", allow_data_loss, backup)

    def rollback_to(
        self, app: str, name: str, *, allow_data_loss: bool = False, backup: Path | None = None
    ) -> list[MigrationResult]:
        """Undo everything of the app after this migration (its beginning is enough; ``zero`` for
        all), and what depends on that in other apps, newest first; of any app, as it is named.

        For all else see ``rollback``.
        """
        return self._go_back(After(app, name), f"rollback_to {app} {name}", allow_data_loss, backup)

    def rollback_to_release(
        self, label: str, *, allow_data_loss: bool = False, backup: Path | None = None
    ) -> list[MigrationResult]:
        """Undo what was applied since the last run with this release label had ended.

        For all else see ``rollback``.
        """
        return self._go_back(Since(label), f"rollback_to_release {label}", allow_data_loss, backup)

    def _go_back(
        self,
        wish: Wish,
        command: str,
        allow_data_loss: bool,  # noqa: FBT001  (between us)
        backup: Path | None,
    ) -> list[MigrationResult]:
        done = go_back(
            self.using, wish, allow_data_loss=allow_data_loss, backup=backup, command=command
        )
        return list(done.results)

    def history(
        self, *, limit: int | None = None, app: str | None = None, failed_only: bool = False
    ) -> list[MigrationResult]:
        """Every attempt on record, newest first; empty where nothing was ever recorded.

        One that was killed counts as failed, and one that is going on is left out. Read-only.
        """
        runs = read_runs(self.using, limit=limit, app=app, failed_only=failed_only)
        return [run.result() for run in runs if run.success is not None]

    def validate(
        self, *, drift: bool = True, comparison: Comparison | None = None
    ) -> SchemaValidationResult:
        """Compare the migrations on disk with the database: its records, and what it is.

        With ``drift`` the live catalog is compared with what the applied migrations build, and the
        models with the migrations: a second or two, on a connection of its own, and nothing is kept
        (``validation``). Without it the records alone are compared, in milliseconds. Raises what
        ``read_status`` does, and a SchemaError with exit code 3 where nothing can be said.
        """
        if not drift:
            return read_status(self.using).validation()
        return validate(self.using, comparison)

    def plan_reset(self, apps: Sequence[str] = ()) -> ResetPlan:
        """Look what a reset of these apps would drop and build, and what stands in its way.

        Without names: the apps whose AppConfig says ``schema_owned = True``. Changes nothing.
        Raises AppsNotChosen, and ReplayFailed where it cannot be told what belongs to the apps.
        """
        return plan_reset(self.using, apps)

    def reset(
        self, plan: ResetPlan, *, confirm: str, backup: Path | None, terminate: bool = False
    ) -> ResetResult:
        """Drop the schema of the plan's apps and build it again, in one transaction of its own.

        ``confirm`` is the token: the database's name, as ``plan.database`` has it, given by whoever
        has seen the plan. ``backup`` is a file to write first; None, for none, has to be said.
        ``terminate`` ends sessions that are in the way. The settings must allow it. Raises a
        SchemaError for each refusal (``reset.guards``), and leaves everything as it was then.
        """
        return reset(plan, confirm=confirm, backup=backup, terminate=terminate)


def run_migrations(using: str = DEFAULT_DB_ALIAS) -> SchemaValidationResult:
    """Connect, migrate and validate: for an application's start-up.

    It answers for the records; whether the tables agree, ``MigrationService.validate`` tells.
    Returns the validation, valid or not; raises as the three steps do.
    """
    service = MigrationService(using)
    service.check_connection()
    for result in service.run_all():
        logger.info(
            "migration applied app=%s name=%s duration_ms=%s",
            result.app,
            result.name,
            result.duration_ms,
        )
    # A start must not wait for a replay, nor need the right to make a schema.
    validation = service.validate(drift=False)
    level = logging.INFO if validation.is_valid else logging.ERROR
    logger.log(level, "%s database=%s", validation.summary(), using)
    return validation
