"""Lets failed jobs run again, by a filter: as ``lifecycle.retry``, for many.

In batches, each a transaction of its own. Stopped half-way, what was requeued is; the same call
again goes on with the rest. A job that fails once more meanwhile is not requeued twice by one call.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.compat import uuid7
from hodei.sql import statement
from jobs.events import JobEvent
from jobs.services import audit
from jobs.states import FailureKind, JobState
from jobs.wakeup import WAKE

#: States that a retry leads out of.
RETRIED = (JobState.FAILED, JobState.TIMEOUT)
#: Jobs of one transaction.
BATCH = 500
#: Jobs that ``count`` counts; of more it is only known that there are so many.
MOST_COUNTED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RequeueFilter:
    """Which failed jobs: each that is given must hold."""

    states: tuple[JobState, ...] = RETRIED
    queue: str | None = None
    name: str | None = None
    #: Of the newest failed attempt.
    kind: FailureKind | None = None
    #: Failed at this time or later; with a time zone.
    since: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what a retry does not lead out of."""
        wrong = [state for state in self.states if state not in RETRIED]
        if wrong or not self.states:
            raise ValueError(
                f"states is {[str(state) for state in self.states]}; it has FAILED, TIMEOUT "
                "or both."
            )
        if self.since is not None and self.since.utcoffset() is None:
            raise ValueError(f"since is {self.since!r}; it is a datetime with a time zone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued:
    """What was done. ``batch`` is in every audit record of it."""

    jobs: int
    batch: uuid.UUID


def count(wanted: RequeueFilter, *, using: str = DEFAULT_DB_ALIAS) -> int:
    """Return how many jobs match now, counted up to MOST_COUNTED. Read-only."""
    condition, parameters = _condition(wanted)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM (SELECT FROM jobs AS j WHERE {condition} LIMIT %(most)s) AS s",  # noqa: S608  (our own words)
            {**parameters, "most": MOST_COUNTED, "before": _now(cursor)},
        )
        number: int = cursor.fetchone()[0]
    return number


def requeue(
    wanted: RequeueFilter,
    *,
    reason: str,
    actor: str,
    limit: int,
    using: str = DEFAULT_DB_ALIAS,
    on_batch: Callable[[int], object] = lambda done: None,
) -> Requeued:
    """Let at most ``limit`` matching jobs run again, the oldest first. ``on_batch`` gets the number
    done so far, after each batch is committed. Each batch is a transaction: not to be called within
    one. Raises ValueError for a limit below 1."""
    if limit < 1:
        raise ValueError(f"limit is {limit!r}; give 1 or more.")
    condition, parameters = _condition(wanted)
    text = statement("jobs", "requeue").replace("/* filter */", condition)
    batch, done = uuid7(), 0
    with connections[using].cursor() as cursor:
        before = _now(cursor)
    while done < limit:
        number = min(BATCH, limit - done)
        with transaction.atomic(using=using, durable=True), connections[using].cursor() as cursor:
            cursor.execute(text, {**parameters, "number": number, "before": before})
            rows = cursor.fetchall()
            if rows:
                _tell(cursor, rows, batch, reason, actor, using)
        done += len(rows)
        on_batch(done)
        if len(rows) < number:
            break
    return Requeued(jobs=done, batch=batch)


def _tell(  # noqa: PLR0917
    cursor: Any, rows: list[Any], batch: uuid.UUID, reason: str, actor: str, using: str
) -> None:
    audit.record_many(
        JobEvent.RETRIED,
        [
            audit.Record(
                payload={
                    "job_id": str(job),
                    "name": name,
                    "state": JobState.PENDING,
                    "reason": reason,
                    "batch": str(batch),
                },
                correlation_id=correlation,
                about=job,
            )
            for job, _, correlation, name in rows
        ],
        actor=actor,
        using=using,
    )
    cursor.execute(statement("jobs", "wake"), {"queues": sorted({row[1] for row in rows}), **WAKE})


def _condition(wanted: RequeueFilter) -> tuple[str, dict[str, Any]]:
    parts = [
        "j.state = ANY(%(states)s)",
        "coalesce(j.completed_at, j.updated_at) < %(before)s",
    ]
    if wanted.queue is not None:
        parts.append("j.queue = %(queue)s")
    if wanted.name is not None:
        parts.append("j.name = %(name)s")
    if wanted.since is not None:
        parts.append("coalesce(j.completed_at, j.updated_at) >= %(since)s")
    if wanted.kind is not None:
        parts.append(
            "(SELECT a.kind FROM job_failed_attempts AS a WHERE a.job_id = j.id "
            "ORDER BY a.id DESC LIMIT 1) = %(kind)s"
        )
    return " AND ".join(parts), {
        "states": [state.value for state in wanted.states],
        "queue": wanted.queue,
        "name": wanted.name,
        "since": wanted.since,
        "kind": wanted.kind and wanted.kind.value,
    }


def _now(cursor: Any) -> datetime:
    cursor.execute("SELECT clock_timestamp()")
    instant: datetime = cursor.fetchone()[0]
    return instant
