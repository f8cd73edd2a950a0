"""What ``migrate`` would do: the SQL, its locks, the tables' size, and what may go wrong.

JSON (``--format json``), one object whose keys stay: docs/reference/schema_plan.md lists them.

Exit codes: 0 the plan is printed, also with warnings and where nothing is pending; 2 misuse or
configuration, or what ``migrate`` refuses; 3 the database could not be read.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db import connections

from hodei.schema.connection import check_connection
from hodei.schema.management.databases import heading
from hodei.schema.management.reports import FINE, ReportCommand
from hodei.schema.plan.collection import LockedTable, PlannedMigration, read_plan
from hodei.schema.plan.hazards import Hazard
from hodei.schema.plan.lint import LintFinding, lint, program
from hodei.schema.plan.tokens import wrap
from hodei.schema.readiness import count_of
from hodei.schema.tables import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from django.core.management.base import CommandParser

    from hodei.schema.results import MigrationKey

FORMAT_VERSION = 1


class Command(ReportCommand):
    help = (
        "Show what migrate would do, without doing any of it: the SQL of each pending migration, "
        "the lock that each statement takes and on which table, how large that table is, and "
        "warnings: table rewrites, index builds that block, scans under a lock, what cannot be "
        "undone, and data that goes. Reads only. Exit codes: 0 printed, 2 misuse or wrong "
        "configuration, 3 the database could not be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "app_label", nargs="?", help="Plan for this app and what it needs; else for all apps."
        )
        parser.add_argument(
            "migration_name",
            nargs="?",
            help="Plan up to this migration of the app; the beginning of its name is enough.",
        )

    def report(self, **options: Any) -> int:
        database: str = options["database"]
        check_connection(database)
        server_version: int = connections[database].connection.info.server_version
        plan = read_plan(database, options["app_label"], options["migration_name"])
        squawk = program()
        remarks = (
            {migration.key: lint(squawk, migration, server_version) for migration in plan}
            if squawk
            else None
        )
        if options["format"] == "json":
            self.print_json(document(database, plan, remarks))
        else:
            for line in heading(database):
                self.stdout.write(line)
            self.print_plan(plan, remarks or {}, options)
        return FINE

    def print_plan(
        self,
        plan: Sequence[PlannedMigration],
        remarks: Mapping[MigrationKey, Sequence[LintFinding]],
        options: dict[str, Any],
    ) -> None:
        style = self.colours(**options)
        for migration in plan:
            transaction = "one transaction" if migration.atomic else "no transaction"
            self.stdout.write(
                style.MIGRATE_HEADING(f"{migration.app}.{migration.name} ({transaction})")
            )
            place = 0
            for operation in migration.operations:
                self.write("  ", operation.description)
                for hazard in operation.hazards:
                    self.write("  ! ", told(hazard), style.WARNING)
                for statement in operation.statements:
                    for line in wrap(f"{statement.sql};", WIDTH - 4):
                        self.stdout.write(style.SQL_KEYWORD(f"    {line}"))
                    for lock in statement.locks:
                        self.write("      ", lock_text(lock))
                    for hazard in statement.hazards:
                        self.write("    ! ", told(hazard), style.WARNING)
                    for remark in remarks.get(migration.key, ()):
                        if remark.statement == place:
                            self.write("    ? ", f"squawk {remark.rule}: {remark.message}")
                    place += 1
            self.stdout.write("")
        self.write("", summary(plan))

    def write(self, mark: str, text: str, paint: Any = str) -> None:
        """Write text in lines behind a mark, the later ones behind as much space."""
        for number, line in enumerate(folded(text, WIDTH - len(mark))):
            self.stdout.write(paint((mark if number == 0 else " " * len(mark)) + line))


def folded(text: str, width: int) -> Iterator[str]:
    """Break prose at its spaces."""
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def told(hazard: Hazard) -> str:
    return f"{hazard.code}: {hazard.message}"


def lock_text(lock: LockedTable) -> str:
    """``SHARE on jobs (about 1,200,000 rows, 512.0 MB): blocks writes``."""
    if lock.is_new:
        return f"{lock.mode} on {lock.table} (new)"
    rows = "never analysed" if lock.rows is None else f"about {lock.rows:,} rows"
    return f"{lock.mode} on {lock.table} ({rows}, {size_text(lock.size_bytes)}): {lock.mode.effect}"


def size_text(size: int | None) -> str:
    """Bytes as a person says them."""
    if size is None:
        return "size unknown"
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TB"


def summary(plan: Sequence[PlannedMigration]) -> str:
    """The last line: how much there is, and how many warnings of which kind."""
    if not plan:
        return "Nothing to do: no migration is pending."
    statements = [statement for migration in plan for statement in migration.statements]
    codes = Counter(hazard.code for migration in plan for hazard in migration.hazards)
    text = f"{count_of(plan, 'migration')}, {count_of(statements, 'statement')}"
    if not codes:
        return f"{text}, no warnings"
    kinds = ", ".join(f"{number} {code}" for code, number in sorted(codes.items()))
    return f"{text}, {count_of(list(codes.elements()), 'warning')}: {kinds}"


def document(
    database: str,
    plan: Sequence[PlannedMigration],
    remarks: Mapping[MigrationKey, Sequence[LintFinding]] | None,
) -> dict[str, object]:
    """The JSON report."""
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "summary": summary(plan),
        "linted": remarks is not None,
        "migrations": [
            {
                "app": migration.app,
                "name": migration.name,
                "atomic": migration.atomic,
                "operations": [
                    {
                        "description": operation.description,
                        "warnings": [_warning(hazard) for hazard in operation.hazards],
                        "statements": [
                            {
                                "sql": statement.sql,
                                "locks": [_lock(lock) for lock in statement.locks],
                                "warnings": [_warning(hazard) for hazard in statement.hazards],
                            }
                            for statement in operation.statements
                        ],
                    }
                    for operation in migration.operations
                ],
                "lint": [
                    {
                        "rule": remark.rule,
                        "message": remark.message,
                        "advice": remark.advice,
                        "statement": remark.statement,
                    }
                    for remark in (remarks or {}).get(migration.key, ())
                ],
            }
            for migration in plan
        ],
    }


def _warning(hazard: Hazard) -> dict[str, object]:
    return {"code": hazard.code.value, "table": hazard.table, "message": hazard.message}


def _lock(lock: LockedTable) -> dict[str, object]:
    return {
        "table": lock.table,
        "mode": lock.mode.value,
        "blocks_reads": lock.mode.blocks_reads,
        "blocks_writes": lock.mode.blocks_writes,
        "is_new": lock.is_new,
        "rows": lock.rows,
        "bytes": lock.size_bytes,
    }
