"""List and change the schedules of periodic jobs. Exit codes: 0 fine, 1 there is no such schedule,
or there is one already; 2 misuse; 3 no connection.

JSON (``list --format json``), one object whose keys stay: see docs/reference/jobs_schedule.md.
"""

from __future__ import annotations

from argparse import REMAINDER
from collections.abc import Iterator, Sequence
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


class Command(ReportCommand):
    help = (
        "List, add, enable, disable and remove schedules: jobs that are enqueued again and again, "
        "at the times of a cron expression. Any running worker looks after them. Exit codes: 0 "
        "fine, 1 there is no such schedule, or one of this name already, 2 misuse or an invalid "
        "schedule, 3 the database could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "action",
            choices=("list", "add", "enable", "disable", "remove"),
            help="What to do. Enabled again, a schedule goes on from now.",
        )
        parser.add_argument("name", nargs="?", metavar="NAME", help="The name of the schedule.")
        parser.add_argument(
            "--cron",
            metavar="TEXT",
            help='For add: minute, hour, day, month and weekday, such as "30 2 * * *".',
        )
        parser.add_argument(
            "--zone",
            default="UTC",
            metavar="NAME",
            help="For add: the time zone of these times, such as Europe/Madrid. Without it: UTC.",
        )
        parser.add_argument(
            "--spec",
            metavar="FILE",
            help="For add: a file with the spec of the jobs as JSON, in place of a command.",
        )
        parser.add_argument(
            "--command",
            nargs=REMAINDER,
            default=[],
            dest="words",
            metavar="WORD",
            help="For add, as its last option: the program to run, and all its arguments.",
        )
        parser.add_argument(
            "--overlap",
            default=Overlap.SKIP.value,
            choices=[one.value for one in Overlap],
            help="For add: what to do when the last job has not ended. Without it: SKIP.",
        )
        parser.add_argument(
            "--missed",
            default=Missed.ONCE.value,
            choices=[one.value for one in Missed],
            help="For add: the times at which no worker ran. Without it: ONCE, for the newest.",
        )
        parser.add_argument("--queue", default="default", help="For add: the queue of its jobs.")
        parser.add_argument(
            "--priority", type=priority, default=0, metavar="N", help=f"For add: {PRIORITIES}."
        )
        parser.add_argument(
            "--timeout",
            type=timeout,
            metavar="SECONDS",
            help="For add: the longest that a run takes.",
        )

    def report(self, **options: Any) -> int:
        action, name, using = options["action"], options["name"], options["database"]
        if (action == "list") is (name is not None):
            raise CommandError(
                "list takes no name." if name else f"Give the name of the schedule to {action}.",
                returncode=MISUSE,
            )
        if action == "list":
            return self._list(using, options["format"])
        try:
            said = self._add(**options) if action == "add" else _do(action, name, using)
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

    def _add(self, **options: Any) -> str:
        if options["cron"] is None:
            raise CommandError(
                'Give the times: --cron "30 2 * * *" is every day at 02:30.', returncode=MISUSE
            )
        properties = {"queue": options["queue"], "priority": options["priority"]}
        if options["timeout"] is not None:
            properties["timeout"] = options["timeout"]
        due = schedules.add(
            options["name"],
            cron=options["cron"],
            time_zone=options["zone"],
            spec=_spec(options["words"], options["spec"]),
            options=properties,
            overlap=Overlap(options["overlap"]),
            missed=Missed(options["missed"]),
            actor=actor(),
            using=options["database"],
        )
        when = "never" if due is None else f"at {due:%Y-%m-%d %H:%M} UTC"
        return f"Schedule {options['name']} is added, and due first {when}."


def _do(action: str, name: str, using: str) -> str:
    if action == "remove":
        schedules.remove(name, actor=actor(), using=using)
        return f"Schedule {name} is removed; jobs of it that are there stay."
    change = schedules.enable if action == "enable" else schedules.disable
    changed = change(name, actor=actor(), using=using)
    return f"Schedule {name} is {'now' if changed else 'already'} {action}d."


def _spec(words: Sequence[str], file: str | None) -> Any:
    if bool(words) == bool(file):
        raise CommandError(
            "Give either --command echo hello, as the last option, or --spec FILE.",
            returncode=MISUSE,
        )
    if file is None:
        return {"command": {"type": "shell", "cmd": words[0], "args": list(words[1:])}}
    return read_json(file)


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
