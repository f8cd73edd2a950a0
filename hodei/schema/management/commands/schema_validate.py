"""Is the database what its migrations make of it: compares the live catalog with a replay of them.

JSON (``--format json``), one object whose keys stay:

- ``format_version``: 1; it grows when a key changes its meaning or goes, not when one is added
- ``database``: the alias
- ``valid``, ``summary``: the verdict, and the same line the table ends with
- ``source``: what it was compared with: replay, rebuild or snapshot
- ``compared``: how many tables and views there were to compare
- ``pending``, ``failed``: the migrations that are not applied, each as ``app.name``; the last
  attempt at those that failed did, or was interrupted
- ``counts``: ``error``, ``warning``, ``info``, and ``ignored`` ones
- ``findings``: objects with ``kind``, ``severity``, ``subject``, ``table``, ``object``,
  ``expected``, ``actual``, ``message`` and ``repair``, a list of statements, in order
- ``notes``: what the comparison could not take into account

Exit codes: 0 fine (warnings and information alone are fine without ``--strict``); 1 something is
pending, missing or other than the migrations say; 2 misuse or configuration; 3 could not verify,
which is also the answer where there was nothing to compare.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hodei.schema.connection import check_connection
from hodei.schema.management.databases import heading
from hodei.schema.management.reports import FINE, FOUND, UNVERIFIED, ReportCommand
from hodei.schema.plan.tokens import wrap
from hodei.schema.readiness import names_of
from hodei.schema.results import Finding, SchemaValidationResult, Severity
from hodei.schema.service import MigrationService
from hodei.schema.tables import WIDTH, one_line, render, wrap_words
from hodei.schema.validation import Comparison

if TYPE_CHECKING:
    from django.core.management.base import CommandParser
    from django.core.management.color import Style

FORMAT_VERSION = 1
#: How many migrations a line names.
SHOWN = 5


class Command(ReportCommand):
    help = (
        "Compare the database with what its applied migrations build: tables, columns, indexes, "
        "constraints, triggers, functions, sequences, views, and more. The migrations are replayed "
        "beside the real tables in a transaction that is always rolled back; nothing is changed. "
        "Each finding has a suggested repair, which is printed and never run. Exit codes: 0 fine, "
        "1 pending or drifted (with --strict: anything found), 2 misuse or wrong configuration, "
        "3 could not verify."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--strict",
            action="store_true",
            help="Exit with 1 for warnings and information too, not for errors alone.",
        )
        parser.add_argument(
            "--ignore",
            action="append",
            default=[],
            metavar="PATTERN",
            help=(
                "Accept what differs there: a table (with all that is on it), table.object, or the "
                "name of a function, sequence or type; * and ? stand for anything. May be given "
                "several times, and is added to the setting HODEI_SCHEMA_IGNORE."
            ),
        )
        parser.add_argument(
            "--privileges",
            action="store_true",
            help="Compare owners and privileges of tables as well.",
        )
        source = parser.add_mutually_exclusive_group()
        source.add_argument(
            "--rebuild",
            action="store_true",
            help=(
                "Replay in a temporary database on the same server instead, in a process of its "
                "own: for raw SQL that names a schema, for types of extensions, for more than 300 "
                "tables. RunPython runs there. Needs the right to create databases."
            ),
        )
        source.add_argument(
            "--expected",
            type=Path,
            metavar="FILE",
            help=(
                "Compare with a file that schema_snapshot wrote instead: for a role that may only "
                "read."
            ),
        )

    def report(self, **options: Any) -> int:
        database: str = options["database"]
        check_connection(database)
        validation = MigrationService(database).validate(
            comparison=Comparison(
                rebuild=options["rebuild"],
                expected=options["expected"],
                privileges=options["privileges"],
                ignore=options["ignore"],
            )
        )
        if options["format"] == "json":
            self.print_json(document(database, source_of(options), validation))
        else:
            for line in heading(database):
                self.stdout.write(line)
            self.print_findings(validation, self.colours(**options))
        if validation.compared == 0:
            self.stderr.write(
                "Nothing was compared: the applied migrations make no table in this database. "
                "Migrate first, or check the database routers and --database."
            )
            return UNVERIFIED
        is_fine = validation.is_valid and not (options["strict"] and validation.findings)
        return FINE if is_fine else FOUND

    def print_findings(self, validation: SchemaValidationResult, style: Style) -> None:
        if validation.findings:
            paints = {"error": style.ERROR, "warning": style.WARNING, "info": style.NOTICE}
            rows = [
                (
                    finding.severity.value,
                    finding.kind.value.replace("_", " "),
                    finding.subject,
                    one_line(finding.expected),
                    one_line(finding.actual),
                )
                for finding in validation.findings
            ]
            titles = ("severity", "finding", "object", "expected", "actual")
            paint = {"severity": lambda text: paints[text](text)}
            self.stdout.write("\n".join(render(titles, rows, paint=paint, whole={"severity"})))
            self.stdout.write("")
        for finding in validation.findings:
            if not finding.repair:
                self.stdout.write("\n".join(wrap_words(finding.message)))
        if any(finding.repair for finding in validation.findings):
            self.stdout.write("Suggested repairs. Nothing has run them; read before you do:")
            self.stdout.write("")
            for finding in validation.findings:
                self.print_repair(finding)
        for note in validation.notes:
            self.stdout.write("\n".join(wrap_words(f"Note: {note}")))
        for word, keys in (
            ("Pending", validation.pending_migrations),
            ("Failed", validation.failed_migrations),
        ):
            if keys:
                told = f"{word}: {names_of(keys, SHOWN)}"
                self.stdout.write(style.ERROR("\n".join(wrap_words(told))))
        if validation.ignored:
            self.stdout.write(f"Ignored by pattern: {validation.ignored}")
        self.stdout.write(f"Compared: {validation.compared} tables and views")
        verdict = style.SUCCESS if validation.is_valid else style.ERROR
        self.stdout.write(verdict(validation.summary()))

    def print_repair(self, finding: Finding) -> None:
        if not finding.repair:
            return
        for line in wrap_words(finding.message, "--"):
            self.stdout.write(line)
        for statement in finding.repair:
            for line in wrap(f"{statement.rstrip().rstrip(';')};", WIDTH):
                self.stdout.write(line)
        self.stdout.write("")


def source_of(options: dict[str, Any]) -> str:
    if options["expected"] is not None:
        return "snapshot"
    return "rebuild" if options["rebuild"] else "replay"


def document(database: str, source: str, validation: SchemaValidationResult) -> dict[str, object]:
    """The JSON report; this module's docstring lists its keys."""
    counts = Counter(finding.severity for finding in validation.findings)
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "valid": validation.is_valid,
        "summary": validation.summary(),
        "source": source,
        "compared": validation.compared,
        "pending": [".".join(key) for key in validation.pending_migrations],
        "failed": [".".join(key) for key in validation.failed_migrations],
        "counts": {
            **{severity.value: counts[severity] for severity in Severity},
            "ignored": validation.ignored,
        },
        "findings": [
            {
                "kind": finding.kind.value,
                "severity": finding.severity.value,
                "subject": finding.subject,
                "table": finding.table,
                "object": finding.object,
                "expected": finding.expected,
                "actual": finding.actual,
                "message": finding.message,
                "repair": list(finding.repair),
            }
            for finding in validation.findings
        ],
        "notes": list(validation.notes),
    }
