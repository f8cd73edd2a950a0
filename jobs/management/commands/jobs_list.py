"""List jobs. Exit codes: 0 fine, 2 misuse, 3 the database could not be read.

JSON (``--format json``), one object whose keys stay: docs/reference/jobs_list.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from hodei.redaction import redact_text
from hodei.schema.management.arguments import past
from hodei.schema.management.lists import ListCommand
from hodei.wording import age, iso, one_line
from jobs.management.tables import cut
from jobs.services.inspection import MOST_FOUND, JobFilter, find
from jobs.states import JobState

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from jobs.models import Job

WIDTH = 100


class Command(ListCommand):
    things, most = "jobs", MOST_FOUND
    help = (
        "List jobs, the newest first: where each is, how often it was tried, and its error. "
        "jobs_show tells more of one. Exit codes: 0 fine, 2 misuse, 3 the database could not be "
        "read."
    )

    def add_filters(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--state",
            choices=[state.value for state in JobState],
            metavar="STATE",
            help=f"Only jobs in this state: {', '.join(JobState)}.",
        )
        parser.add_argument("--queue", metavar="NAME", help="Only jobs of this queue.")
        parser.add_argument("--name", metavar="NAME", help="Only jobs of this name.")
        parser.add_argument("--correlation-id", metavar="ID", help="Only jobs that belong to it.")
        parser.add_argument(
            "--since",
            type=past,
            metavar="WHEN",
            help=(
                "Only jobs that were enqueued then or later: a date (2026-03-31), a time in UTC, "
                "or how long ago (90m, 12h, 7d)."
            ),
        )

    def find(self, options: dict[str, Any]) -> Sequence[Job]:
        wanted = JobFilter(
            state=options["state"] and JobState(options["state"]),
            queue=options["queue"],
            name=options["name"],
            correlation_id=options["correlation_id"],
            since=options["since"],
        )
        return find(wanted, limit=options["limit"], using=options["database"])

    def document(self, one: Any) -> dict[str, Any]:
        error: str | None = one.error_start
        return {
            "id": str(one.pk),
            "name": one.name,
            "state": one.state,
            "queue": one.queue,
            "priority": one.priority,
            "attempts": one.attempts,
            "max_attempts": one.max_attempts,
            "created_at": iso(one.created_at),
            "run_after": iso(one.run_after),
            "started_at": iso(one.started_at),
            "completed_at": iso(one.completed_at),
            "correlation_id": one.correlation_id,
            "error": error and redact_text(error),
        }

    def lines(self, found: Sequence[Job]) -> Iterator[str]:
        """At most 100 columns but for long names of queues."""
        if not found:
            yield "No job matches."
            return
        now = timezone.now()
        state = max(5, *(len(job.state) for job in found))
        queue = max(5, *(len(job.queue) for job in found))
        yield f"{'job':36}  {'state':{state}}  {'queue':{queue}}  {'attempts':>8}  enqueued"
        for job in found:
            tries = f"{job.attempts} of {job.max_attempts}"
            since = f"{age((now - job.created_at).total_seconds())} ago"
            yield f"{job.pk}  {job.state:{state}}  {job.queue:{queue}}  {tries:>8}  {since}"
            error = self.document(job)["error"]
            said = ": ".join(filter(None, [one_line(job.name), one_line(error)]))
            if said:
                yield f"    {cut(said, WIDTH - 4)}"
