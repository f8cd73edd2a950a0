"""What one can ask of a schema: is it reachable, bring it up to date, is it valid."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.core.management import call_command
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS

from hodei.schema.connection import check_connection, connection_errors, require_postgresql
from hodei.schema.errors import SchemaError
from hodei.schema.executor import recording
from hodei.schema.results import MigrationResult, SchemaValidationResult
from hodei.schema.status import read_status

logger = logging.getLogger(__name__)


class MigrationFailed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """A migration raised. ``results`` are those of this run, in order; the last is the failure."""

    exit_code = 5

    def __init__(self, results: Sequence[MigrationResult]) -> None:
        self.results = tuple(results)
        super().__init__(self.results)

    @property
    def failure(self) -> MigrationResult:
        return self.results[-1]

    def __str__(self) -> str:
        failed, before = self.failure, len(self.results) - 1
        return (
            f"Migration {failed.app}.{failed.name} failed after {failed.duration_ms} ms: "
            f"{failed.error}. Applied in this run before it, and kept: {before}. "
            "Correct the migration or the data and run again, which goes on from here."
        )


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

        Owns its transactions: one for each atomic migration. Stops at the first failure with
        MigrationFailed, which carries what ran before. What ``migrate`` refuses before it runs
        anything (conflicting leaves, inconsistent history) passes as Django raises it.
        Returns the results in the order applied; empty if nothing was pending.
        """
        require_postgresql(self.using)
        results: list[MigrationResult] = []
        try:
            with recording(results.append), connection_errors(self.using):
                call_command(migrate.Command(), database=self.using, interactive=False, verbosity=0)
        except Exception as error:
            if results and not results[-1].success:
                raise MigrationFailed(results) from error
            raise
        return results

    def validate(self) -> SchemaValidationResult:
        """Compare the migrations on disk with those recorded in the database. Read-only.

        It answers for the records, not for the tables themselves. Raises what ``read_status`` does.
        """
        return read_status(self.using).validation()


def run_migrations(using: str = DEFAULT_DB_ALIAS) -> SchemaValidationResult:
    """Connect, migrate and validate: for an application's start-up.

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
    validation = service.validate()
    level = logging.INFO if validation.is_valid else logging.ERROR
    logger.log(level, "%s database=%s", validation.summary(), using)
    return validation
