"""List and change the schedules of periodic jobs. Exit codes: 0 fine, 1 there is no such schedule,
or there is one already; 2 misuse; 3 no connection.

JSON (``list --format json``), one object whose keys stay: see docs/reference/jobs_schedule.md.
"""

from __future__ import annotations

from argparse import REMAINDER
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from hodei.actor import actor
from hodei.redaction import redact
from hodei.schema.management.reports import FINE, FOUND, MISUSE, ReportCommand
from hodei.wording import iso
from jobs.management.arguments import PRIORITIES, priority, timeout
from jobs.management.files import read_json
from jobs.management.tables import aligned, cut
from jobs.models import Schedule
from jobs.services import schedules
from jobs.states import Missed, Overlap

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

FORMAT_VERSION = 1
WRITES = ("add", "change")
#: What the service calls what an option of the command gives; and the options of its jobs.
COLUMNS = {"cron": "cron", "time_zone": "zone", "overlap": "overlap", "missed": "missed"}
OPTIONS = ("queue", "priority", "timeout")
GIVEN = (*COLUMNS.values(), *OPTIONS, "spec", "words")
NO_SPEC = "Give either --command echo hello, as the last option, or --spec FILE."


class Command(ReportCommand):
    help = (
        "List, add, change, enable, disable and remove schedules: jobs that are enqueued again "
        "and again, at the times of a cron expression. Any running worker looks after them. Exit "
        "codes: 0 fine, 1 there is no such schedule, or one of this name already, 2 misuse or an "
        "invalid schedule, 3 the database could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "action",
            choices=("list", "add", "change", "enable", "disable", "remove"),
            help="What to do. To change is to give what is to be different. With other times, or "
            "enabled again, a schedule goes on from now.",
        )
        parser.add_argument("name", nargs="?", metavar="NAME", help="The name of the schedule.")
        parser.add_argument(
            "--cron",
            metavar="TEXT",
            help='Minute, hour, day, month and weekday, such as "30 2 * * *".',
        )
        parser.add_argument(
            "--zone",
            metavar="NAME",
            help="The time zone of these times, such as Europe/Madrid. To begin with: UTC.",
        )
        parser.add_argument(
            "--spec",
            metavar="FILE",
            help="A file with the spec of the jobs as JSON, in place of a command.",
        )
        parser.add_argument(
            "--command",
            nargs=REMAINDER,
            dest="words",
            metavar="WORD",
            help="As the last option: the program to run, and all its arguments.",
        )
        parser.add_argument(
            "--overlap",
            choices=[one.value for one in Overlap],
            help="What to do when the last job has not ended. To begin with: SKIP.",
        )
        parser.add_argument(
            "--missed",
            choices=[one.value for one in Missed],
            help="The times at which no worker ran. To begin with: ONCE, for the newest.",
        )
        parser.add_argument("--queue", help="The queue of its jobs. To begin with: default.")
        parser.add_argument("--priority", type=priority, metavar="N", help=f"{PRIORITIES}.")
        parser.add_argument(
            "--timeout",
            type=timeout,
            metavar="SECONDS",
            help="The longest that a run takes.",
        )

    def report(self, **options: Any) -> int:
        action, name, using = options["action"], options["name"], options["database"]
        if (action == "list") is (name is not None):
            raise CommandError(
                "list takes no name." if name else f"Give the name of the schedule to {action}.",
                returncode=MISUSE,
            )
        if action not in WRITES and (given := [one for one in GIVEN if options[one] is not None]):
            option = "--command" if given[0] == "words" else f"--{given[0]}"
            raise CommandError(
                f"{action} takes no {option}; {' and '.join(WRITES)} do.", returncode=MISUSE
            )
        if action != "list" and options["format"] == "json":
            raise CommandError(f"{action} takes no --format json; list does.", returncode=MISUSE)
        if action == "list":
            return self._list(using, options["format"])
        try:
            said = _write(**options) if action in WRITES else _do(action, name, using)
        except (schedules.ScheduleNotFound, schedules.ScheduleExists) as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except (schedules.ScheduleInvalid, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        self.stdout.write(said)
        return FINE

    def _list(self, using: str, form: str) -> int:
        found = schedules.find(using=using)
        if form == "json":
            self.print_json(
                {
                    "format_version": FORMAT_VERSION,
                    "database": using,
                    "schedules": [document(row) for row in found],
                }
            )
        elif found:
            for line in table(found):
                self.stdout.write(line)
        else:
            self.stdout.write("There are no schedules.")
        return FINE


def _write(**options: Any) -> str:
    """Add it or change it, with what is given."""
    action, name, using = options["action"], options["name"], options["database"]
    given = {key: options[word] for key, word in COLUMNS.items() if options[word] is not None}
    properties = {key: options[key] for key in OPTIONS if options[key] is not None}
    if properties:
        given["options"] = properties
    if options["words"] is not None or options["spec"] is not None:
        given["spec"] = _spec(options["words"], options["spec"])
    if action == "change":
        if not given:
            raise CommandError(f"Give what is to be different of {name}.", returncode=MISUSE)
        due = schedules.change(name, actor=actor(), using=using, **given)
        return f"Schedule {name} is changed, and due next {_when(due)}."
    if "cron" not in given:
        raise CommandError(
            'Give the times: --cron "30 2 * * *" is every day at 02:30.', returncode=MISUSE
        )
    if "spec" not in given:
        raise CommandError(NO_SPEC, returncode=MISUSE)
    due = schedules.add(name, actor=actor(), using=using, **given)
    return f"Schedule {name} is added, and due first {_when(due)}."


def _when(due: datetime | None) -> str:
    return "never" if due is None else f"at {due:%Y-%m-%d %H:%M} UTC"


def _do(action: str, name: str, using: str) -> str:
    if action == "remove":
        schedules.remove(name, actor=actor(), using=using)
        return f"Schedule {name} is removed; jobs of it that are there stay."
    change = schedules.enable if action == "enable" else schedules.disable
    changed = change(name, actor=actor(), using=using)
    return f"Schedule {name} is {'now' if changed else 'already'} {action}d."


def _spec(words: Sequence[str] | None, file: str | None) -> Any:
    if bool(words) == bool(file) or (words is not None and file is not None):
        raise CommandError(NO_SPEC, returncode=MISUSE)
    if words:
        return {"command": {"type": "shell", "cmd": words[0], "args": list(words[1:])}}
    return read_json(file or "")


def document(row: Schedule) -> dict[str, Any]:
    """One schedule, as JSON has it."""
    return {
        "name": row.name,
        "cron": row.cron,
        "time_zone": row.time_zone,
        "enabled": row.enabled,
        "overlap": row.overlap,
        "missed": row.missed,
        "spec": redact(row.spec),
        "options": redact(row.options),
        "next_run_at": iso(row.next_run_at),
        "last_run_at": iso(row.last_run_at),
        "last_job": row.last_job_id and str(row.last_job_id),
    }


def table(rows: Sequence[Schedule]) -> Iterator[str]:
    """The same for a person, at most 100 columns."""
    cells = [("name", "times", "zone", "rules", "next (UTC)")]
    for row in rows:
        due = f"{row.next_run_at:%Y-%m-%d %H:%M}" if row.next_run_at else "never"
        cells.append(
            (
                cut(row.name, 26),
                cut(row.cron, 18),
                cut(row.time_zone, 19),
                f"{row.overlap} {row.missed}",
                due if row.enabled else "disabled",
            )
        )
    return aligned(cells)
