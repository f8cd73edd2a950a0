"""The emergency: drops the schema of some apps and builds it again by their migrations.

All of it in one transaction, behind guards that each refuse with everything as it was. What would
go is shown first, with exact numbers of rows; then the database's name must be typed.

Exit codes: 0 done (or shown, with ``--dry-run``); 1 refused by a guard, or the answer was no; 2
misuse or configuration; 3 could not be looked at or backed up; 4 a lock was not free in time; 5 a
migration failed, and everything was rolled back.
"""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema import conf
from hodei.schema.management.reports import FINE, MISUSE, PlanCommand
from hodei.schema.reset.guards import ResetRefused, check_allowed
from hodei.schema.reset.service import ResetPlan, plan_reset, reset
from hodei.schema.run.progress import Lines
from hodei.schema.tables import WIDTH, render

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(PlanCommand):
    help = (
        "Emergency: drop the tables of some apps, with all their rows and whatever else their "
        "migrations made, and build them again. Shows first what goes, asks for the name of the "
        "database, and writes a backup; then everything happens in one transaction, or nothing. "
        "What belongs to other apps is never touched. Needs HODEI_ALLOW_RESET = True in the "
        "settings (in DEBUG it is on). Exit codes: 0 done, 1 refused, 2 misuse or wrong "
        "configuration, 3 could not look or back up, 4 a lock was not free in time, 5 a migration "
        "failed and everything was rolled back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "apps",
            nargs="*",
            metavar="APP",
            help=(
                "The label of an app to reset. Without any: every app whose AppConfig has "
                "schema_owned = True."
            ),
        )
        parser.add_argument(
            "--confirm",
            metavar="NAME",
            help=(
                "The name of the database, for scripts: it is asked for otherwise. Any other name "
                "is refused."
            ),
        )
        saving = parser.add_mutually_exclusive_group()
        saving.add_argument(
            "--backup",
            type=Path,
            metavar="FILE",
            help=(
                "The file to write the backup to, which must not exist yet. Without it: a name "
                "made of the database's name and the time, in the current folder."
            ),
        )
        saving.add_argument(
            "--no-backup", action="store_true", help="Write no backup: the rows are gone for good."
        )
        parser.add_argument(
            "--terminate",
            action="store_true",
            help=(
                "End other sessions that hold locks on the tables and do not let go in time; each "
                "is named. Without it they are named, and nothing is done."
            ),
        )

    def report(self, **options: Any) -> int:
        progress = Lines(self.stderr, "schema_reset")
        plan = plan_reset(options["database"], options["apps"], progress=progress)
        if options["format"] == "json":
            self.print_json(as_json(plan))
        else:
            self.show(plan)
        if plan.obstacles:
            raise ResetRefused(plan.obstacles)
        if options["dry_run"]:
            if options["format"] != "json":
                self.stdout.write("Nothing was changed: this was a dry run.")
            return FINE
        check_allowed()
        path = self.backup_path(plan, **options)
        result = reset(
            plan,
            confirm=self.confirmed(plan, options["confirm"]),
            backup=path,
            terminate=options["terminate"],
            command=self.words(options),
            progress=progress,
            told=self.tell if options["verbosity"] else None,
            verbosity=options["verbosity"],
            stdout=self.stdout,
        )
        style = self.colours(**options)
        self.stdout.write(
            style.SUCCESS(
                f"Reset: {_count(len(plan.rows), 'table')} with "
                f"{_count(sum(plan.rows.values()), 'row')} dropped, "
                f"{_count(len(result.built), 'migration')} run."
            )
        )
        if result.backup is not None:
            self.stdout.write(f"Backup: {result.backup.path}, {result.backup.size_bytes:,} bytes")
            self.stdout.write(f"Restore it with: {result.restore}")
            if set(plan.survey.builds) - set(plan.survey.recorded):
                self.stdout.write(
                    "Not all of these migrations were applied before: after restoring, correct the "
                    "records with migrate APP NAME --fake."
                )
        return FINE

    def show(self, plan: ResetPlan) -> None:
        found = plan.survey
        say = self.stdout.write
        say(f"Database {found.database!r} (alias {plan.using}), schema {found.schema}")
        say(f"Apps: {', '.join(found.apps)}")
        say("")
        if plan.rows:
            rows = [(name, found.tables[name], f"{plan.rows[name]:,}") for name in plan.rows]
            say("\n".join(render(("table that goes", "app", "rows"), rows)))
            say("")
        if found.objects:
            say("\n".join(render(("goes as well",), [(one,) for one in found.objects])))
            say("")
        what = f"{_count(len(plan.rows), 'table')} with {_count(sum(plan.rows.values()), 'row')}"
        if found.objects:
            what += f" and {_count(len(found.objects), 'other object')}"
        say(f"{what} would be dropped, and {_count(len(found.builds), 'migration')} run.")
        for remark in found.remarks:
            say(_wrapped(f"Note: {remark}"))
        for session in plan.sessions:
            say(_wrapped(f"In these tables now: {session}"))

    def confirmed(self, plan: ResetPlan, given: str | None) -> str:
        if given is not None:
            return given
        return self.ask(
            f"Type the name of the database to drop all of this ({plan.database}):",
            instead="Give its name with --confirm NAME.",
        )

    def backup_path(self, plan: ResetPlan, **options: Any) -> Path | None:
        if options["no_backup"]:
            return None
        given: Path | None = options["backup"]
        if given is not None and given.exists():
            raise CommandError(
                f"Nothing was changed: {given} exists, and a backup is a new file.",
                returncode=MISUSE,
            )
        name = re.sub(r"[^\w.-]", "_", plan.database)
        return given or Path.cwd() / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump"

    def tell(self, action: str, migration: object = None, _fake: bool = False) -> None:  # noqa: FBT001, FBT002
        """What runs, in the words of Django's migrate."""
        if action == "apply_start":
            self.stdout.write(f"  Applying {migration}...", ending="")
            self.stdout.flush()
        elif action == "apply_success":
            self.stdout.write(" OK")

    def words(self, options: dict[str, Any]) -> str:
        if getattr(self, "_called_from_command_line", False):
            return shlex.join(sys.argv[1:])
        return shlex.join(["schema_reset", *options["apps"]])


def as_json(plan: ResetPlan) -> dict[str, Any]:
    """The plan as a document; its keys are in docs/reference/schema_reset.md."""
    found = plan.survey
    return {
        "format_version": 1,
        "database": plan.using,
        "name": found.database,
        "schema": found.schema,
        "apps": list(found.apps),
        "allowed": conf.allows_reset(),
        "tables": [
            {"name": name, "app": found.tables[name], "rows": rows}
            for name, rows in plan.rows.items()
        ],
        "objects": list(found.objects),
        "migrations": [".".join(key) for key in found.builds],
        "obstacles": list(plan.obstacles),
        "notes": list(found.remarks),
        "sessions": [
            {
                "pid": session.pid,
                "user": session.user,
                "application": session.application,
                "since": session.since.isoformat() if session.since else None,
            }
            for session in plan.sessions
        ],
    }


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(
        "".join(letter if letter.isprintable() else "?" for letter in text),
        WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
