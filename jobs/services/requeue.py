"""Lets failed jobs run again, by a filter: as ``lifecycle.retry``, for many.

In batches, each a transaction of its own. Stopped half-way, what was requeued is; the same call
again goes on with the rest. A job that fails once more meanwhile is not requeued twice by one call.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.compat import uuid7
from hodei.sql import statement
from hodei.values import check_instant, check_limit, check_text, identifier, member, shown
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
#: Jobs of one call.
MOST_REQUEUED = 1_000_000_000


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
        given: object = self.states
        are_states = isinstance(given, tuple | list) and all(
            isinstance(state, str) and state in RETRIED for state in given
        )
        if not are_states or not given:
            raise ValueError(f"states is {shown(given)}; it has FAILED, TIMEOUT or both.")
        check_instant("since", self.since)
        check_text("queue", self.queue)
        check_text("name", self.name)
        if self.kind is not None:
            member(FailureKind, "kind", self.kind)


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
    one. Raises ValueError for a limit outside 1 to MOST_REQUEUED."""
    check_limit(limit, MOST_REQUEUED)
    condition, parameters = _condition(wanted)
    text = statement("jobs", "requeue").replace("/* filter */", condition)
    batch, done = uuid7(), 0
    # From the oldest on, and never back: what does not match is not walked over again.
    begin: Any = "-infinity"
    with connections[using].cursor() as cursor:
        before = _now(cursor)
    while done < limit:
        number = min(BATCH, limit - done)
        with transaction.atomic(using=using, durable=True), connections[using].cursor() as cursor:
            asked = {**parameters, "number": number, "before": before, "from": begin}
            cursor.execute(text, asked)
            rows = cursor.fetchall()
            if rows:
                _tell(cursor, rows, batch, reason, actor, using)
        done += len(rows)
        on_batch(done)
        if len(rows) < number:
            break
        begin = max(row[4] for row in rows)
    return Requeued(jobs=done, batch=batch)


def retry_these(
    job_ids: Sequence[uuid.UUID],
    *,
    reason: str,
    actor: str,
    batch: uuid.UUID,
    using: str = DEFAULT_DB_ALIAS,
) -> list[uuid.UUID]:
    """Let those of these jobs run again that have failed and that nobody else changes just now;
    returns their ids. One transaction, or the caller's."""
    text = statement("jobs", "requeue").replace(
        "/* filter */", "j.id = ANY(%(ids)s) AND j.state = ANY(%(states)s)"
    )
    asked: dict[str, Any] = {
        "ids": [found for one in job_ids if (found := identifier(one)) is not None],
        "states": [state.value for state in RETRIED],
        "from": "-infinity",
        "number": len(job_ids),
    }
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(text, asked)
        rows = cursor.fetchall()
        if rows:
            _tell(cursor, rows, batch, reason, actor, using)
    return [row[0] for row in rows]


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
            for job, _, correlation, name, _ in rows
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
        "states": [JobState(state).value for state in wanted.states],
        "queue": wanted.queue,
        "name": wanted.name,
        "since": wanted.since,
        "kind": wanted.kind and FailureKind(wanted.kind).value,
    }


def _now(cursor: Any) -> datetime:
    cursor.execute("SELECT clock_timestamp()")
    instant: datetime = cursor.fetchone()[0]
    return instant
