"""Looks at jobs: one whole, and how much waits. Read-only, and as fast with any history."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models.functions import Left

from hodei.values import check_instant, check_limit, check_text, identifier, member
from jobs.models import FailedAttempt, Job, Lease
from jobs.services.lifecycle import JobNotFound
from jobs.states import JobState

#: Rows of ``find``.
MOST_FOUND = 10_000
#: Counts of more than this are not counted to their end.
MOST_COUNTED = 10_000
#: Queues that are told, the first by their names.
MOST_QUEUES = 1_000
#: Characters of an error that a list has.
ERROR_START = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs: each that is given must hold."""

    state: JobState | None = None
    queue: str | None = None
    name: str | None = None
    correlation_id: str | None = None
    #: Enqueued at this time or later; with a time zone.
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetail:
    """One job with what belongs to it."""

    job: Job
    #: Oldest first.
    failed_attempts: tuple[FailedAttempt, ...]
    lease: Lease | None
    #: Since when it waits in its queue; None if it does not.
    waits_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """What waits in one queue."""

    queue: str
    #: Counted up to MOST_COUNTED.
    ready: int
    #: How long the oldest has waited.
    oldest: timedelta | None


@dataclass(frozen=True, slots=True)
class Glance:
    """How much there is to do, over all queues. Counts end at MOST_COUNTED."""

    ready: int
    #: How long the one that was enqueued first has waited.
    oldest: timedelta | None
    deferred: int
    held_by_workers: int
    expired_leases: int
    workers: int
    failed: int
    needs_a_person: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How much there is to do, and who does it. Counts end at MOST_COUNTED."""

    queues: tuple[QueueDepth, ...]
    deferred: int
    next_due_at: datetime | None
    held_by_workers: int
    expired_leases: int
    workers: int
    failed: int
    needs_a_person: int


def detail(job_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> JobDetail:
    """Raises JobNotFound."""
    if identifier(job_id) is None:
        raise JobNotFound(job_id)
    job = Job.objects.using(using).filter(pk=job_id).first()
    if job is None:
        raise JobNotFound(job_id)
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT enqueued_at FROM job_queue WHERE job_id = %s", [job_id])
        row = cursor.fetchone()
    return JobDetail(
        job=job,
        failed_attempts=tuple(
            FailedAttempt.objects.using(using).filter(job_id=job_id).order_by("id")
        ),
        lease=Lease.objects.using(using).filter(job_id=job_id).first(),
        waits_since=row[0] if row else None,
    )


def find(wanted: JobFilter, *, limit: int = 100, using: str = DEFAULT_DB_ALIAS) -> tuple[Job, ...]:
    """At most ``limit`` jobs, the newest first, without spec and result; ``error_start`` is how the
    error begins. By state and age an index finds them; for a queue or a name alone it looks through
    jobs from the newest on.

    Raises ValueError for a limit outside 1 to MOST_FOUND, and for what no job can have.
    """
    check_limit(limit, MOST_FOUND)
    check_instant("since", wanted.since)
    for field in ("queue", "name", "correlation_id"):
        check_text(field, getattr(wanted, field))
    conditions = {
        "state": wanted.state and member(JobState, "state", wanted.state),
        "queue": wanted.queue,
        "name": wanted.name,
        "correlation_id": wanted.correlation_id,
        "created_at__gte": wanted.since,
    }
    rows = Job.objects.using(using).filter(
        **{name: value for name, value in conditions.items() if value is not None}
    )
    shown = rows.only(
        *("id", "name", "state", "queue", "priority", "attempts", "max_attempts"),
        *("created_at", "run_after", "started_at", "completed_at", "correlation_id"),
    )
    ordered = shown.annotate(error_start=Left("error_message", ERROR_START)).order_by(
        "-created_at", "-id"
    )
    return tuple(ordered[:limit])


def statistics(*, using: str = DEFAULT_DB_ALIAS) -> Statistics:
    """Ask the small tables, and of the large one only what an index can count."""
    with connections[using].cursor() as cursor:
        cursor.execute(_QUEUES, {"most": MOST_COUNTED, "queues": MOST_QUEUES})
        queues = tuple(
            QueueDepth(queue=queue, ready=ready, oldest=oldest)
            for queue, ready, oldest in cursor.fetchall()
        )
        cursor.execute(_REST, {"most": MOST_COUNTED})
        row: Any = cursor.fetchone()
    return Statistics(
        queues=queues,
        deferred=row[0],
        next_due_at=row[1],
        held_by_workers=row[2],
        expired_leases=row[3],
        workers=row[4],
        failed=row[5],
        needs_a_person=row[6],
    )


def glance(*, using: str = DEFAULT_DB_ALIAS) -> Glance:
    """The same without a look at each queue, of which there may be many."""
    with connections[using].cursor() as cursor:
        cursor.execute(_GLANCE, {"most": MOST_COUNTED})
        return Glance(*cursor.fetchone())


_QUEUES = """
WITH RECURSIVE found AS (
    (SELECT queue FROM job_queue ORDER BY queue LIMIT 1)
     UNION ALL
    SELECT (SELECT q.queue FROM job_queue AS q WHERE q.queue > found.queue ORDER BY q.queue LIMIT 1)
      FROM found WHERE found.queue IS NOT NULL
)
SELECT found.queue,
       (SELECT count(*) FROM (SELECT FROM job_queue AS q WHERE q.queue = found.queue
                               LIMIT %(most)s) AS counted),
       clock_timestamp() - (SELECT min(enqueued_at) FROM (
           SELECT enqueued_at FROM job_queue AS q WHERE q.queue = found.queue LIMIT %(most)s) AS s)
  FROM found WHERE found.queue IS NOT NULL
 LIMIT %(queues)s
"""
_REST = """
SELECT (SELECT count(*) FROM (SELECT FROM job_queue_deferred LIMIT %(most)s) AS counted),
       (SELECT run_after FROM job_queue_deferred ORDER BY run_after LIMIT 1),
       (SELECT count(*) FROM (SELECT FROM job_leases LIMIT %(most)s) AS counted),
       (SELECT count(*) FROM (SELECT FROM job_leases WHERE expires_at < clock_timestamp()
                               LIMIT %(most)s) AS counted),
       (SELECT count(*) FROM workers WHERE state IN ('READY', 'BUSY', 'DRAINING')),
       (SELECT count(*) FROM (SELECT FROM jobs WHERE state = 'FAILED' LIMIT %(most)s) AS counted),
       (SELECT count(*) FROM (SELECT FROM jobs WHERE state = 'MANUAL_INTERVENTION_REQUIRED'
                               LIMIT %(most)s) AS counted)
"""
_GLANCE = """
SELECT (SELECT count(*) FROM (SELECT FROM job_queue LIMIT %(most)s) AS counted),
       clock_timestamp() - (SELECT enqueued_at FROM job_queue ORDER BY id LIMIT 1),
       (SELECT count(*) FROM (SELECT FROM job_queue_deferred LIMIT %(most)s) AS counted),
       (SELECT count(*) FROM (SELECT FROM job_leases LIMIT %(most)s) AS counted),
       (SELECT count(*) FROM (SELECT FROM job_leases WHERE expires_at < clock_timestamp()
                               LIMIT %(most)s) AS counted),
       (SELECT count(*) FROM workers WHERE state IN ('READY', 'BUSY', 'DRAINING')),
       (SELECT count(*) FROM (SELECT FROM jobs WHERE state = 'FAILED' LIMIT %(most)s) AS counted),
       (SELECT count(*) FROM (SELECT FROM jobs WHERE state = 'MANUAL_INTERVENTION_REQUIRED'
                               LIMIT %(most)s) AS counted)
"""
