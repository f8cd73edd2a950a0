"""What was migrated here, when, by whom, how long it took, and what went wrong.

JSON (``--format json``), one object whose keys stay:

- ``format_version``: 1; it grows when a key changes its meaning or goes, not when one is added
- ``database``: the alias
- ``runs``: the rows, newest first; each has ``id``, ``batch``, ``event`` (run, fake, accept,
  reset, adopt, import), ``outcome`` (ok, faked, accepted, reset, adopted, imported, failed,
  interrupted, running), ``app``, ``name``, ``direction``, ``started_at``, ``finished_at`` (ISO 8601
  in UTC, or null), ``duration_ms``, ``success``, ``error``, ``traceback``, ``sqlstate``,
  ``operation``, ``checksum``, ``database_user``, ``os_user``, ``host``, ``command``, ``release``,
  ``hodei_version``, ``django_version``, ``reason``

CSV (``--format csv``) has the same keys as titles, without the traceback.

Exit codes: 0 fine; 1 there is no run of that number; 2 misuse or configuration; 3 the database
could not be read.
"""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema.connection import check_connection
from hodei.schema.history import Run, read_runs
from hodei.schema.management.arguments import past, whole
from hodei.schema.management.databases import heading
from hodei.schema.management.reports import FINE, FOUND, MISUSE, ReportCommand
from hodei.schema.suggestions import not_found
from hodei.schema.tables import render
from hodei.schema.timing import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

FORMAT_VERSION = 1
LIMIT = 20


class Command(ReportCommand):
    help = (
        "List what was migrated here, newest first: every migration that was applied, unapplied or "
        "faked, every attempt that failed or was interrupted, how long it took and who did it. "
        "With the number of a run, show that one whole, with its traceback. Reads only. What plain "
        "Django did before or beside hodei.schema is not in it: see schema_status. Exit codes: 0 "
        "fine, 1 no such run, 2 misuse or wrong configuration, 3 the database could not be read."
    )
    formats = ("table", "json", "csv")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "run", nargs="?", type=int, metavar="RUN", help="The number of one run to show whole."
        )
        parser.add_argument("--app", metavar="LABEL", help="Only migrations of this app.")
        parser.add_argument(
            "--limit",
            type=_limit,
            default=LIMIT,
            metavar="N",
            help=f"At most so many, the newest (default: {LIMIT}); 0 lists all.",
        )
        parser.add_argument(
            "--failed", action="store_true", help="Only attempts that failed or were interrupted."
        )
        parser.add_argument(
            "--since",
            type=past,
            metavar="WHEN",
            help=(
                "Only what began at this time or later: a date (2026-03-31), a time in UTC "
                "(2026-03-31T12:00), or how long ago (90m, 12h, 7d)."
            ),
        )

    def report(self, **options: Any) -> int:
        database: str = options["database"]
        check_connection(database)
        runs = read_runs(
            database,
            limit=options["limit"] or None,
            app=options["app"],
            failed_only=options["failed"],
            since=options["since"],
            run=options["run"],
        )
        if options["run"] is not None and not runs:
            raise CommandError(
                f"There is no run {options['run']} in the history of database {database!r}. "
                "schema_history lists the numbers.",
                returncode=FOUND,
            )
        if options["app"] and not runs:
            self._require_app(database, options["app"])
        if options["format"] == "json":
            self.print_json(document(database, runs))
        elif options["format"] == "csv":
            self.stdout.write(table_of_values(runs), ending="")
        elif options["run"] is not None:
            self.print_whole(database, runs[0])
        else:
            self.print_table(runs, options)
        return FINE

    def print_table(self, runs: Sequence[Run], options: dict[str, Any]) -> None:
        style = self.colours(**options)
        for line in heading(options["database"]):
            self.stdout.write(line)
        if not runs:
            self.stdout.write("Nothing is recorded that fits.")
            return
        paints = {
            "ok": style.SUCCESS,
            "failed": style.ERROR,
            "interrupted": style.ERROR,
            "running": style.WARNING,
        }
        rows = [
            (
                str(run.id),
                run.app,
                run.name,
                run.direction.value,
                run.outcome,
                f"{run.started_at:%Y-%m-%d %H:%M:%S}",
                duration(run.duration_ms),
                run.database_user,
            )
            for run in runs
        ]
        titles = (
            *("run", "app", "migration", "direction", "outcome"),
            *("started at (UTC)", "duration", "by"),
        )

        def colour(text: str) -> str:
            return paints.get(text, style.NOTICE)(text)

        whole = {"run", "direction", "outcome", "started at (UTC)", "duration"}
        lines = render(titles, rows, paint={"outcome": colour}, whole=whole)
        self.stdout.write("\n".join(lines))

    def print_whole(self, database: str, run: Run) -> None:
        """Everything that is known of one run; the traceback last, as it was."""
        for line in heading(database):
            self.stdout.write(line)
        for name, value in document_of(run).items():
            if value not in {None, ""} and name != "traceback":
                self.stdout.write(f"{name.replace('_', ' ')}: {value}")
        if run.traceback:
            self.stdout.write(f"\n{run.traceback.rstrip()}")

    def _require_app(self, database: str, label: str) -> None:
        from django.apps import apps  # noqa: PLC0415

        known = {config.label for config in apps.get_app_configs()}
        known |= {run.app for run in read_runs(database)}
        if label not in known:
            raise CommandError(not_found("app", label, known), returncode=MISUSE)


def document(database: str, runs: Sequence[Run]) -> dict[str, object]:
    """The JSON report; this module's docstring lists its keys."""
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "runs": [document_of(run) for run in runs],
    }


def document_of(run: Run) -> dict[str, Any]:
    values = {**asdict(run), "outcome": run.outcome, "batch": str(run.batch)}
    for name in ("started_at", "finished_at"):
        value: datetime | None = values[name]
        values[name] = value.isoformat() if value else None
    return values


def table_of_values(runs: Sequence[Run]) -> str:
    names = [field.name for field in fields(Run) if field.name != "traceback"] + ["outcome"]
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(document_of(run) for run in runs)
    return out.getvalue()


def _limit(text: str) -> int:
    # The server counts no further.
    return min(whole("runs", 0)(text), sys.maxsize)
