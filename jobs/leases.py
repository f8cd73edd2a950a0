"""Claims, starts, ends and renews jobs, set-wise: the statements of a worker, each its own
transaction on a connection of the worker's own."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hodei.redaction import redact_text
from hodei.sql import statement
from jobs import telling
from jobs.runs import Cancelled, Claimed, Ended

if TYPE_CHECKING:
    import psycopg

#: Seconds that a lease lasts, and how often it is renewed in that time.
LEASE_SECONDS = 30.0
RENEWALS = 3
#: Seconds that a worker waits for an answer; one that comes later than that comes after its leases.
PATIENCE_SECONDS = 30.0
#: Runs that may be lost before a job is given up: something in it may be what kills workers.
MOST_LOST_LEASES = 5
#: Seconds by which jobs that were lost again are kept apart, at most and for each time before.
APART_SECONDS = 15.0
LOST = "The worker that ran it vanished, and its lease ran out."
#: States of runs that may be on record whatever the settings are. What would go back is among them:
#: it is CANCELLED where somebody has asked for that.
MAY_BE_TOLD = frozenset({"FAILED", "TIMEOUT", "CANCELLED", "PENDING"})
#: Characters of an error that the audit and events have.
LONGEST_TOLD = 1_000

# The queue is said twice, since of a range of names the planner expects few rows. Where it expects
# many, as of one of two queues, it would look for those beyond a mark in all queues together.
_BEYOND = (
    "AND e.queue BETWEEN wanted.queue AND wanted.queue "
    "AND e.priority = wanted.priority AND e.id > wanted.after"
)


@dataclass(slots=True)
class Mark:
    """Where the last claim of a queue stopped: a priority, and a place within it."""

    priority: int
    place: int


def claim(
    session: psycopg.Connection[Any],
    worker: uuid.UUID,
    queues: Sequence[str],
    number: int,
    *,
    starting: int,
    seconds: float = LEASE_SECONDS,
    marks: dict[str, Mark] | None = None,
) -> list[Claimed]:
    """Claim up to ``number`` jobs, the first ``starting`` of which begin at once.

    With ``marks`` it looks only beyond them, in the queues that have one.
    """
    text = telling.text("claim")
    wanted = list(queues)
    priorities = places = [0] * len(wanted)
    if marks:
        wanted = [queue for queue in queues if queue in marks]
        priorities = [marks[queue].priority for queue in wanted]
        places = [marks[queue].place for queue in wanted]
        text = text.replace("/* beyond */", _BEYOND)
    rows = session.execute(
        text,
        {
            "worker": worker,
            "queues": wanted,
            "priorities": priorities,
            "after": places,
            "number": number,
            "starting": starting,
            "seconds": seconds,
        },
        binary=True,
    ).fetchall()
    return [Claimed._make(row) for row in rows]


def start(session: psycopg.Connection[Any], jobs: Sequence[Claimed]) -> list[Claimed]:
    """Let assigned jobs begin; returns those that may, with their new attempt."""
    rows = session.execute(
        telling.text("start"),
        {"ids": [job.id for job in jobs], "epochs": [job.epoch for job in jobs]},
    ).fetchall()
    begun = {row[0]: row for row in rows}
    return [
        job._replace(attempts=begun[job.id][1], started_at=begun[job.id][2], started=True)
        for job in jobs
        if job.id in begun
    ]


def finish(session: psycopg.Connection[Any], ended: Sequence[Ended]) -> set[uuid.UUID]:
    """Write down how runs ended; returns the ids of those that were still ours."""
    states = [one.state.value for one in ended]
    rows = session.execute(
        telling.text("finish", None if MAY_BE_TOLD.intersection(states) else telling.UNEVENTFUL),
        {
            "ids": [one.id for one in ended],
            "epochs": [one.epoch for one in ended],
            "states": states,
            "results": _column([one.result for one in ended]),
            "errors": _column([one.error for one in ended]),
            "seconds": _column([one.seconds for one in ended]),
            "spent": [one.spent for one in ended],
            "kinds": _column([one.kind and one.kind.value for one in ended]),
            "classes": _column([one.error_class for one in ended]),
            "traces": _column([one.traceback for one in ended]),
            "cancelled": Cancelled().message,
            "told": _column([one.error and redact_text(one.error)[:LONGEST_TOLD] for one in ended]),
        },
    ).fetchall()
    return {row[0] for row in rows}


def _column(values: list[Any]) -> list[Any]:
    """The array of a column: a short one where nothing is in it, which unnest fills up."""
    return values if any(value is not None for value in values) else []


def renew(
    session: psycopg.Connection[Any],
    held: Sequence[tuple[uuid.UUID, int]],
    *,
    seconds: float = LEASE_SECONDS,
) -> dict[uuid.UUID, bool]:
    """Prolong leases (job, epoch); returns those that are still ours, and whether somebody asked
    for the run to be stopped."""
    rows = session.execute(
        statement("jobs", "renew"),
        {
            "ids": [job for job, _ in held],
            "epochs": [epoch for _, epoch in held],
            "seconds": seconds,
        },
    ).fetchall()
    return dict(rows)


def promote(session: psycopg.Connection[Any], number: int = 1_000) -> int:
    """Put jobs whose time has come into the queue; returns how many."""
    return len(session.execute(telling.text("promote"), {"number": number}).fetchall())


def rescue(session: psycopg.Connection[Any], number: int = 1_000) -> list[tuple[Any, ...]]:
    """Put jobs whose lease ran out back, or end them; returns (id, state, queue, worker)."""
    return session.execute(
        telling.text("rescue"),
        {
            "worker": None,
            "number": number,
            "most": MOST_LOST_LEASES,
            "apart": APART_SECONDS,
            "message": LOST,
        },
    ).fetchall()
