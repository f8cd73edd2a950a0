"""Block until the schema is valid: for init containers and start scripts.

Exit codes: 0 valid; 1 the time is up and it is not valid, or it never can be with these files
(several last migrations); 2 misuse or configuration; 3 the time is up and the database could not be
read. Whoever only asks for zero or not zero is served as well.
"""

from __future__ import annotations

import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from hodei.schema.errors import SchemaError
from hodei.schema.management.arguments import seconds
from hodei.schema.management.reports import FOUND, INTERRUPTED, MISUSE, UNVERIFIED
from hodei.schema.readiness import KnownMigrations, count_of
from hodei.schema.results import Severity
from hodei.schema.suggestions import not_found
from hodei.schema.waiting import Outcome, wait_until_valid

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

DEFAULT_SECONDS = 300.0
ENDED_BY_SIGTERM = 128 + signal.SIGTERM


class Command(BaseCommand):
    help = (
        "Wait until every migration of this code is applied to the database, and no longer. It "
        "looks about every two seconds, from one process, and says on stderr what it waits for. "
        "It changes nothing: something else has to run migrate. Exit codes: 0 valid, 1 the time is "
        "up and the schema is not valid, 2 misuse or wrong configuration, 3 the time is up and the "
        "database could not be read."
    )
    # It may run before anything else works.
    requires_system_checks = []
    #: Whether signals are ours to use: not where somebody calls this from a program of theirs.
    _own_process = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database",
            action="append",
            dest="databases",
            metavar="ALIAS",
            help=(
                "The database to wait for: a name in the DATABASES setting "
                f"({', '.join(connections).replace('%', '%%')}). May be given several times, and "
                f"then waits for all of them. Without it: {DEFAULT_DB_ALIAS}."
            ),
        )
        parser.add_argument(
            "--timeout",
            type=seconds(),
            default=DEFAULT_SECONDS,
            metavar="SECONDS",
            help=(
                "Give up after this long in all. 0 looks once and does not wait. "
                f"Without it: {DEFAULT_SECONDS:.0f}."
            ),
        )
        parser.add_argument(
            "--drift",
            action="store_true",
            help=(
                "Wait until the tables themselves are as the migrations build them, too, as "
                "schema_validate judges it."
            ),
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """As process 1 of a container it would not be ended by a signal that it does not handle."""
        signal.signal(signal.SIGTERM, _end)
        self._own_process = True
        super().run_from_argv(argv)

    def handle(self, *_args: object, **options: Any) -> None:
        names = options["databases"] or [DEFAULT_DB_ALIAS]
        for name in names:
            if name not in connections.settings:
                raise CommandError(
                    not_found("database", name, list(connections.settings)), returncode=MISUSE
                )
        migrations = KnownMigrations()
        start = time.monotonic()
        try:
            for name in dict.fromkeys(names):
                self.wait(name, options, start, migrations)
        except SchemaError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=INTERRUPTED) from None

    def wait(
        self, name: str, options: dict[str, Any], start: float, migrations: KnownMigrations
    ) -> None:
        """Wait for one database with what is left of the time."""

        def tell(missing: str) -> None:
            self.stderr.write(f"Waiting for database {name!r}: {missing}.")
            self.stderr.flush()

        left = max(0.0, options["timeout"] - (time.monotonic() - start))
        outcome = wait_until_valid(
            name,
            seconds=left,
            tell=tell,
            migrations=migrations,
            drift=partial(drift_of, name) if options["drift"] else None,
            own_process=self._own_process,
        )
        waited = time.monotonic() - start
        if outcome.is_valid and outcome.readiness is not None:
            self.stdout.write(
                f"Database {name!r} after {waited:.1f} s. {outcome.readiness.summary()}"
            )
            return
        raise CommandError(
            f"Database {name!r} is not valid after {waited:.1f} s: {outcome.missing}. "
            + advice(outcome),
            returncode=UNVERIFIED if outcome.readiness is None else FOUND,
        )


def drift_of(name: str) -> str | None:
    """What is wrong with the tables of a database, or None."""
    from hodei.schema.service import MigrationService  # noqa: PLC0415  (only --drift needs it)

    found = MigrationService(name).validate(drift=True)
    if found.is_valid:
        return None
    subjects = [one.subject for one in found.findings if one.severity is Severity.ERROR]
    more = f" and {len(subjects) - 3} more" if len(subjects) > 3 else ""
    told = ", ".join(subjects[:3]) + more
    return f"{count_of(subjects, 'difference')} from what its migrations build ({told})"


def advice(outcome: Outcome) -> str:
    """What to do about it."""
    if outcome.readiness is None:
        return "Make the database reachable and readable, or wait longer (--timeout)."
    if outcome.readiness.conflicting:
        return "Join them with makemigrations --merge; waiting does not."
    if outcome.readiness.is_valid:
        return "See schema_validate."
    return "Run migrate, or wait longer (--timeout)."


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(ENDED_BY_SIGTERM)
