"""Show how much there is to do, and who does it. Exit codes: 0 fine, 2 misuse, 3 no connection.

JSON (``--format json``), one object whose keys stay: docs/reference/jobs_stats.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hodei.schema.management.reports import FINE, ReportCommand
from hodei.values import printable
from hodei.wording import age, iso, moment
from jobs.services.inspection import MOST_COUNTED, Statistics, statistics

FORMAT_VERSION = 1


class Command(ReportCommand):
    help = (
        "Show what waits in each queue, what workers hold, and what failed. It is as quick with "
        f"any number of jobs: counts end at {MOST_COUNTED:,}. Exit codes: 0 fine, 2 misuse, 3 the "
        "database could not be read."
    )

    def report(self, **options: Any) -> int:
        found = statistics(using=options["database"])
        if options["format"] == "json":
            self.print_json(document(options["database"], found))
        else:
            for line in lines(options["database"], found):
                self.stdout.write(printable(line))
        return FINE


def document(database: str, found: Statistics) -> dict[str, Any]:
    """The JSON report."""
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "counted_up_to": MOST_COUNTED,
        "queues": [
            {
                "queue": depth.queue,
                "ready": depth.ready,
                "oldest_seconds": depth.oldest and round(depth.oldest.total_seconds(), 3),
            }
            for depth in found.queues
        ],
        "deferred": found.deferred,
        "next_due_at": iso(found.next_due_at),
        "held_by_workers": found.held_by_workers,
        "expired_leases": found.expired_leases,
        "workers": found.workers,
        "failed": found.failed,
        "needs_a_person": found.needs_a_person,
    }


def lines(database: str, found: Statistics) -> Iterator[str]:
    """The same for a person, at most 100 columns."""
    facts = document(database, found)
    width = max([len("queue"), *(len(depth.queue) for depth in found.queues)])
    if found.queues:
        yield f"{'queue':{width}}  {'ready':>8}  oldest waits"
        for depth in facts["queues"]:
            waits = age(depth["oldest_seconds"])
            yield f"{depth['queue']:{width}}  {_number(depth['ready']):>8}  {waits}"
    else:
        yield "No job waits in any queue."
    yield ""
    due = f", the next at {moment(found.next_due_at)} UTC" if found.next_due_at else ""
    for name, value in (
        ("due later", f"{_number(found.deferred)}{due}"),
        ("held by workers", _number(found.held_by_workers)),
        ("leases run out", _number(found.expired_leases)),
        ("workers alive", _number(found.workers)),
        ("failed", _number(found.failed)),
        ("need a person", _number(found.needs_a_person)),
    ):
        yield f"{name:17}{value}"


def _number(value: int) -> str:
    return f"{value:,}" + ("+" if value >= MOST_COUNTED else "")
