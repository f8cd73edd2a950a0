"""Undo migrations: shows first what goes, refuses what would lose data, and keeps a record.

Exit codes: 0 done, or nothing to do; 1 refused by a guard, or the answer was no; 2 misuse or
configuration; 3 the database could not be read, or not be backed up; 4 a lock was not free in time;
5 a migration failed.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema.connection import check_connection
from hodei.schema.management.arguments import whole
from hodei.schema.management.reports import FINE, FOUND, MISUSE, PlanCommand
from hodei.schema.readiness import count_of
from hodei.schema.rollback.guards import Refused, refuse
from hodei.schema.rollback.hold import check_path
from hodei.schema.rollback.preview import Preview, read_preview
from hodei.schema.rollback.service import WentBack, go_back
from hodei.schema.rollback.targets import After, Last, Since, Wish
from hodei.schema.rollback.wording import amount, subject
from hodei.schema.run.progress import Lines, Progress, Terminal
from hodei.schema.tables import WIDTH, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser, OutputWrapper
    from django.core.management.color import Style


class Command(PlanCommand):
    help = (
        "Undo the migration that was applied last, or all those that came after another one or "
        "after a release. Shows first what would be undone, in order, and which tables, columns "
        "and rows would go with it, counted; nothing is touched until you agree. Refused where a "
        "migration has no way back, and where rows or values would be lost, unless you allow "
        "that. All steps run in one transaction where each of them can, under the lock and the "
        "limits of migrate, and are recorded: see schema_history. Exit codes: 0 done or nothing "
        "to do, 1 refused, 2 misuse or wrong configuration, 3 the database could not be read or "
        "backed up, 4 a lock was not free in time, 5 a migration failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "app_label",
            nargs="?",
            metavar="APP",
            help="The app to take back to NAME. Without it: undo what was applied last.",
        )
        parser.add_argument(
            "migration_name",
            nargs="?",
            metavar="NAME",
            help=(
                "The migration of APP to go back to, which stays applied; its beginning is "
                "enough. Everything after it is undone, and what depends on that in other apps. "
                "zero undoes all of APP."
            ),
        )
        parser.add_argument(
            "--steps",
            type=whole("steps"),
            metavar="N",
            help="Undo the last N migrations of all apps, in place of one.",
        )
        parser.add_argument(
            "--to-release",
            metavar="LABEL",
            help=(
                "Undo what was applied since the last run of migrate with this release label "
                "(setting HODEI_SCHEMA_RELEASE) had ended."
            ),
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_true",
            help="Ask nothing: for scripts. The guards refuse all the same.",
        )
        parser.add_argument(
            "--allow-data-loss",
            action="store_true",
            help=(
                "Go on although the rows and values that are shown will be lost. Rows that only "
                "the newer schema can hold are moved into tables named <table>_head_rows where "
                "the migrations provide for it."
            ),
        )
        parser.add_argument(
            "--backup",
            type=Path,
            metavar="FILE",
            help=(
                "Write the tables that lose something into this new file first, by pg_dump. "
                "pg_restore brings them back."
            ),
        )

    def report(self, **options: Any) -> int:
        database: str = options["database"]
        wish = _wish(options)
        backup: Path | None = options["backup"]
        check_path(backup)
        check_connection(database)
        preview = read_preview(database, wish)
        if options["format"] == "json":
            self.print_json(as_json(preview, allow_data_loss=options["allow_data_loss"]))
        else:
            for line in told(preview, backup):
                self.stdout.write(line)
        refuse(preview, allow_data_loss=options["allow_data_loss"])
        if not preview.steps or options["dry_run"]:
            return FINE
        if not options["no_input"]:
            self._agree(preview)
        done = self._go_back(wish, preview, options)
        for line in _summary(done):
            self.stdout.write(line)
        return FINE

    def _agree(self, preview: Preview) -> None:
        question = f"Undo {count_of(preview.steps, 'migration')} of database {preview.database}?"
        answer = self.ask(f"{question} [y/N]", instead="Use --no-input in scripts.")
        if answer.lower() not in {"y", "yes"}:
            raise CommandError("Nothing was changed.", returncode=FOUND)

    def _go_back(self, wish: Wish, preview: Preview, options: dict[str, Any]) -> WentBack:
        lines = _Lines(self.stdout, self.colours(**options))
        verbosity: int = options["verbosity"]
        progress: Progress = Lines(self.stderr)
        if verbosity >= 1 and self.stdout.isatty():
            progress = Terminal(self.stdout, self.stderr)
        try:
            return go_back(
                options["database"],
                wish,
                allow_data_loss=options["allow_data_loss"],
                backup=options["backup"],
                shown=preview,
                command=self._words(wish),
                progress=progress,
                progress_callback=lines.tell if verbosity >= 1 else None,
                verbosity=verbosity,
                stdout=self.stdout,
            )
        finally:
            lines.close()

    def _words(self, wish: Wish) -> str:
        if getattr(self, "_called_from_command_line", False):
            return shlex.join(sys.argv[1:])
        return shlex.join(["schema_rollback", *wish.words])


class _Lines:
    """One line for each step, as ``migrate`` writes them."""

    def __init__(self, out: OutputWrapper, style: Style) -> None:
        self._out = out
        self._style = style
        self._open = False

    def tell(self, action: str, migration: object = None, *_facts: object) -> None:
        if action == "unapply_start":
            self._out.write(f"  Unapplying {migration}...", ending="")
            self._out.flush()
            self._open = True
        elif action == "unapply_success":
            self._out.write(self._style.SUCCESS(" OK"))
            self._open = False

    def close(self) -> None:
        if self._open:
            self._out.write("")


def as_json(preview: Preview, *, allow_data_loss: bool) -> dict[str, Any]:
    """The preview as a document; its keys are in docs/reference/schema_rollback.md."""
    refused = None
    try:
        refuse(preview, allow_data_loss=allow_data_loss)
    except Refused as refusal:
        refused = str(refusal)
    return {
        "format_version": 1,
        "database": preview.database,
        "one_transaction": preview.in_one_transaction,
        "refused": refused,
        "steps": [
            {
                "app": step.key[0],
                "name": step.key[1],
                "atomic": step.migration.atomic,
                "depends_on": ".".join(step.depends_on) if step.depends_on else None,
            }
            for step in preview.steps
        ],
        "losses": [
            {
                "kind": one.loss.what.value,
                "object": subject(one),
                "table": one.loss.table.shown,
                "step": ".".join(one.loss.step),
                "affected": one.affected,
                "lost": one.lost,
                "problem": one.problem,
            }
            for one in preview.going
        ],
        "unknown": [
            {"step": ".".join(key), "message": message} for key, message in preview.losses.unknown
        ],
        "notes": list(preview.notes),
    }


def told(preview: Preview, backup: Path | None) -> Iterator[str]:
    """The preview, in lines."""
    if not preview.steps:
        yield f"Database {preview.database}: nothing to undo."
    else:
        yield from _steps_told(preview)
        yield ""
        yield from _losses_told(preview)
    for key, message in preview.losses.unknown:
        yield from _folded(f"Not known before: {'.'.join(key)}: {message}")
    for note in preview.notes:
        yield from _folded(note)
    if preview.steps and backup is not None:
        yield from _backup_told(preview, backup)


def _backup_told(preview: Preview, backup: Path) -> Iterator[str]:
    if not preview.tables:
        yield "No backup: no table loses anything."
        return
    yield "Before that, a backup of these tables into a file:"
    yield f"  {backup}"
    yield from _folded("  " + ", ".join(table.shown for table in preview.tables))


def _steps_told(preview: Preview) -> Iterator[str]:
    number = count_of(preview.steps, "migration")
    yield from _folded(
        f"Database {preview.database}: would undo {number}, in this order"
        + (", all in one transaction:" if preview.in_one_transaction else ":")
    )
    for step in preview.steps:
        why = f" (depends on {'.'.join(step.depends_on)})" if step.depends_on else ""
        yield f"  {'.'.join(step.key)}{why}"
    if not preview.in_one_transaction:
        names = ", ".join(map(".".join, preview.not_atomic))
        yield from _folded(
            f"One by one, as migrate would, since {names} cannot run in a transaction with others: "
            "where a step fails, those before it stay undone."
        )


def _losses_told(preview: Preview) -> Iterator[str]:
    if not preview.going:
        yield "No table, column or row would go."
        return
    rows = [(one.loss.what.value, subject(one), amount(one)) for one in preview.going]
    yield from render(("WOULD GO", "WHICH", "HOW MUCH"), rows)


def _summary(done: WentBack) -> Iterator[str]:
    yield f"Undone: {count_of(done.results, 'migration')}."
    if done.backup is not None:
        tables = count_of(done.backup.tables, "table")
        yield f"Backup of {tables}, which this restores:"
        file = shlex.quote(str(done.backup.path))
        yield f"  pg_restore --dbname postgresql://USER@HOST/NAME {file}"


def _folded(text: str) -> Iterator[str]:
    """Break prose at its spaces; the lines after the first stand further in."""
    line = "  " if text.startswith("  ") else ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > WIDTH:
            yield line
            line = f"  {word}"
        else:
            line = f"{line} {word}" if line.strip() else f"{line}{word}"
    yield line


def _wish(options: dict[str, Any]) -> Wish:
    app, name = options["app_label"], options["migration_name"]
    steps, release = options["steps"], options["to_release"]
    if sum(value is not None for value in (app, steps, release)) > 1:
        raise CommandError(
            "APP NAME, --steps and --to-release say three different things; give one of them.",
            returncode=MISUSE,
        )
    if app is not None and name is None:
        raise CommandError(
            f"Name the migration of {app} to go back to, or zero: schema_rollback {app} NAME. "
            f"schema_status --app {app} lists them.",
            returncode=MISUSE,
        )
    if app is not None:
        return After(app, name)
    return Last(steps or 1) if release is None else Since(release)
