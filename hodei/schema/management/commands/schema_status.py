"""The first thing an operator types: which migrations are applied, pending, failed or unknown.

JSON (``--format json``), one object whose keys stay:

- ``format_version``: 1; it grows when a key changes its meaning or goes, not when one is added
- ``database``: the alias
- ``valid``, ``summary``: the verdict, and the same line the table ends with
- ``counts``: ``applied``, ``expected``, ``pending``, ``failed``, ``unknown``
- ``last_migration``: ``app.name`` of the one applied last, or null
- ``migrations``: objects with ``app``, ``name``, ``state`` (applied, faked, edited, pending,
  failed, out of order, unknown), ``applied_at`` (ISO 8601 in UTC, or null), ``duration_ms`` and
  ``by`` (the database role; both null where the history does not know), ``external`` (whether it
  was applied without a trace in the history), ``error`` (of a failed one, or null) and ``run`` (its
  number for ``schema_history``, or null); apps by name, inside an app in the graph's order
- ``findings``: objects with ``kind`` (conflicting, inconsistent, unknown, edited, out of order),
  ``severity`` (error, warning), ``subject`` and ``message``

``--accept APP NAME --reason TEXT`` records that an edited migration is meant to be as it is.

Exit codes: 0 fine; 1 with ``--check`` when the schema is not valid (something pending, conflicting
or inconsistent; unknown migrations alone are a warning, so that old processes live through the
deployment of newer ones); 2 misuse or configuration; 3 the database could not be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema.connection import check_connection
from hodei.schema.management.databases import heading
from hodei.schema.management.reports import FINE, FOUND, MISUSE, ReportCommand
from hodei.schema.results import FindingKind, SchemaValidationResult, Severity
from hodei.schema.status import (
    PENDING_STATES,
    MigrationState,
    MigrationStatus,
    SchemaStatus,
    accept_edit,
    read_status,
)
from hodei.schema.suggestions import not_found
from hodei.schema.tables import render
from hodei.schema.timing import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

FORMAT_VERSION = 1


class Command(ReportCommand):
    help = (
        "Show every migration of the project and whether the database has it: applied, pending "
        "(on disk, not in the database yet: migrate would run it) or unknown (in the database, "
        "not on disk); also failed (pending, and its last attempt failed), faked (recorded without "
        "being run), edited (its file has changed since it ran) and out of order (pending, while "
        "newer ones are applied). Reads only, changes nothing, except with --accept. Exit codes: 0 "
        "fine, 1 not valid (with --check), 2 misuse or wrong configuration, 3 the database could "
        "not be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--check",
            action="store_true",
            help=(
                "Exit with 1 unless every migration on disk is applied, for scripts and "
                "deployments. Unknown migrations alone are no reason to fail."
            ),
        )
        parser.add_argument(
            "--pending",
            action="store_true",
            help=(
                "List only the pending migrations, failed and out of order ones among them. The "
                "summary still counts all of them."
            ),
        )
        parser.add_argument(
            "--app",
            action="append",
            default=[],
            dest="apps",
            metavar="LABEL",
            help=(
                "Report on this app alone: list, summary and --check. May be given several times "
                "for several apps."
            ),
        )
        parser.add_argument(
            "--accept",
            nargs=2,
            metavar=("APP", "NAME"),
            help="Record that this edited migration is meant to be as it is now. Needs --reason.",
        )
        parser.add_argument(
            "--reason",
            metavar="TEXT",
            help="Why the edit is meant; it is kept in the history, with who recorded it.",
        )

    def report(self, **options: Any) -> int:
        database: str = options["database"]
        apps: Sequence[str] = options["apps"]
        check_connection(database)
        status = read_status(database)
        if options["accept"] or options["reason"]:
            return self.accept(status, options)
        for label in apps:
            if label not in status.app_labels:
                raise CommandError(not_found("app", label, status.app_labels), returncode=MISUSE)
        validation = status.validation(apps)
        shown = [
            migration
            for migration in status.migrations
            if (not apps or migration.app in apps)
            and (not options["pending"] or migration.state in PENDING_STATES)
        ]
        if options["format"] == "json":
            self.print_json(document(database, shown, validation))
        else:
            self.print_table(status, shown, validation, options)
        return FOUND if options["check"] and not validation.is_valid else FINE

    def accept(self, status: SchemaStatus, options: dict[str, Any]) -> int:
        """Record that the text of one edited migration is meant."""
        if not options["accept"] or not (options["reason"] or "").strip():
            raise CommandError(
                "--accept APP NAME and --reason TEXT go together: the reason is what the next one "
                "to look will want to know.",
                returncode=MISUSE,
            )
        app, name = options["accept"]
        known = {
            migration.name: migration for migration in status.migrations if migration.app == app
        }
        if not known:
            raise CommandError(not_found("app", app, status.app_labels), returncode=MISUSE)
        if name not in known:
            raise CommandError(not_found("migration", name, known), returncode=MISUSE)
        if known[name].state is not MigrationState.EDITED:
            raise CommandError(
                f"Migration {app}.{name} is {known[name].state}, and only an edited one can be "
                "accepted.",
                returncode=MISUSE,
            )
        accept_edit(options["database"], (app, name), reason=options["reason"].strip())
        self.stdout.write(f"Accepted: {app}.{name} is meant to be as it is now.")
        return FINE

    def print_table(
        self,
        status: SchemaStatus,
        shown: Sequence[MigrationStatus],
        validation: SchemaValidationResult,
        options: dict[str, Any],
    ) -> None:
        style = self.colours(**options)
        for line in heading(options["database"]):
            self.stdout.write(line)
        paints = {
            MigrationState.APPLIED: style.SUCCESS,
            MigrationState.FAKED: style.NOTICE,
            MigrationState.EDITED: style.WARNING,
            MigrationState.PENDING: style.WARNING,
            MigrationState.FAILED: style.ERROR,
            MigrationState.OUT_OF_ORDER: style.WARNING,
            MigrationState.UNKNOWN: style.NOTICE,
        }
        if shown:
            rows = [
                (
                    migration.app,
                    migration.name,
                    migration.state.value,
                    f"{migration.applied_at:%Y-%m-%d %H:%M:%S}" if migration.applied_at else "-",
                    duration(migration.duration_ms),
                    migration.applied_by or ("external" if migration.external else "-"),
                )
                for migration in shown
            ]
            titles = ("app", "migration", "state", "applied at (UTC)", "duration", "by")
            colours = {"state": lambda text: paints[MigrationState(text)](text)}
            whole = {"state", "applied at (UTC)", "duration"}
            self.stdout.write("\n".join(render(titles, rows, paint=colours, whole=whole)))
            self.stdout.write("")
        for label in options["apps"]:
            if not any(migration.app == label for migration in status.migrations):
                self.stdout.write(f"App {label} has no migrations.")
        for migration in shown:
            if migration.error:
                told = f"{migration.app}.{migration.name}: {migration.error}"
                self.stdout.write(style.ERROR(f"{told} See: schema_history {migration.run}"))
        for finding in validation.findings:
            if finding.kind is not FindingKind.UNKNOWN:
                paint = style.ERROR if finding.severity is Severity.ERROR else style.WARNING
                self.stdout.write(paint(finding.message))
        verdict = style.SUCCESS if validation.is_valid else style.ERROR
        self.stdout.write(verdict(validation.summary()))


def document(
    database: str, shown: Sequence[MigrationStatus], validation: SchemaValidationResult
) -> dict[str, object]:
    """The JSON report; this module's docstring lists its keys."""
    last = validation.last_migration
    unknown = [f for f in validation.findings if f.kind is FindingKind.UNKNOWN]
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "valid": validation.is_valid,
        "summary": validation.summary(),
        "counts": {
            "applied": len(validation.applied_migrations),
            "expected": len(validation.expected_migrations),
            "pending": len(validation.pending_migrations),
            "failed": len(validation.failed_migrations),
            "unknown": len(unknown),
        },
        "last_migration": ".".join(last) if last else None,
        "migrations": [
            {
                "app": migration.app,
                "name": migration.name,
                "state": migration.state.value,
                "applied_at": migration.applied_at.isoformat() if migration.applied_at else None,
                "duration_ms": migration.duration_ms,
                "by": migration.applied_by,
                "external": migration.external,
                "error": migration.error,
                "run": migration.run,
            }
            for migration in shown
        ],
        "findings": [
            {
                "kind": finding.kind.value,
                "severity": finding.severity.value,
                "subject": finding.subject,
                "message": finding.message,
            }
            for finding in validation.findings
        ],
    }
