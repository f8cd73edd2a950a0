"""Jobs that a saga has run: leased to one worker, looked at, and taken back.

A job that was enqueued with ``orchestrated=True`` is in no queue. Whoever has it run leases it
here; the worker finds it, runs it and finishes it as any other. Each function joins the caller's
transaction.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.sql import statement
from hodei.values import identifier, worded
from jobs import leases
from jobs.events import JobEvent
from jobs.retry import storable
from jobs.services import audit
from jobs.services.lifecycle import JobNotFound
from jobs.services.workers import SILENCE_SECONDS
from jobs.states import JOB_FINAL, JobState
from jobs.wakeup import CHANNEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A job, as far as whoever has it run cares."""

    state: JobState
    orchestrated: bool
    queue: str
    #: Whether its time has come.
    is_due: bool
    #: workers.id of whoever holds it now.
    held_by: uuid.UUID | None
    #: workers.id of the newest run.
    worker_id: uuid.UUID | None
    #: Seconds since the newest run began, and how many it may take; None is no run, and no limit.
    running_for: float | None
    timeout: float | None
    #: Seconds since somebody asked for it to be stopped; None is nobody.
    stopping_for: float | None
    error: str | None
    correlation_id: str | None

    @property
    def is_final(self) -> bool:
        return self.state in JOB_FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Who holds a job now."""

    worker_id: uuid.UUID
    epoch: int


def look(job_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> Look:
    """Read-only. Raises JobNotFound."""
    if identifier(job_id) is None:
        raise JobNotFound(job_id)
    with connections[using].cursor() as cursor:
        cursor.execute(_LOOK, [job_id])
        row = cursor.fetchone()
    if row is None:
        raise JobNotFound(job_id)
    return Look(
        state=JobState(row[0]),
        orchestrated=row[1],
        queue=row[2],
        is_due=row[3],
        held_by=row[4],
        worker_id=row[5],
        running_for=row[6],
        timeout=row[7],
        stopping_for=row[8],
        error=row[9],
        correlation_id=row[10],
    )


def assign(
    job_id: uuid.UUID,
    *,
    actor: str,
    worker_id: uuid.UUID | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Assignment | None:
    """Lease a job that is due to a worker: to this one, or to the one that has the fewest.

    The worker has LEASE_SECONDS to find it; from then on it renews the lease as any other. None
    where the job is not free, or no worker has room now.
    """
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(
            statement("jobs", "assign"),
            {
                "job": job_id,
                "worker": worker_id,
                "silence": SILENCE_SECONDS,
                "seconds": leases.LEASE_SECONDS,
                "channel": CHANNEL,
            },
        )
        row = cursor.fetchone()
        if row is None:
            return None
        _record(JobEvent.ASSIGNED, job_id, actor=actor, using=using, worker_id=str(row[0]))
    return Assignment(worker_id=row[0], epoch=row[1])


def take_back(job_id: uuid.UUID, *, actor: str, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Take a job that has not begun from the worker that it was leased to: PENDING again. Returns
    whether there was something to take; a job that runs, or has ended, is left alone."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        # As a worker that begins it: its lease first, and then the job.
        cursor.execute("SELECT FROM job_leases WHERE job_id = %s FOR UPDATE", [job_id])
        cursor.execute(
            "UPDATE jobs SET state = 'PENDING', updated_at = clock_timestamp() "
            "WHERE id = %s AND orchestrated AND state = 'ASSIGNED'",
            [job_id],
        )
        if not cursor.rowcount:
            return False
        cursor.execute("DELETE FROM job_leases WHERE job_id = %s", [job_id])
        _record(JobEvent.RETURNED, job_id, actor=actor, using=using, state=JobState.PENDING)
    return True


def end_anyway(
    job_id: uuid.UUID,
    state: JobState,
    *,
    reason: str,
    actor: str,
    using: str = DEFAULT_DB_ALIAS,
) -> bool:
    """End a job whose worker has not ended it in time: TIMEOUT or CANCELLED, and its lease gone, so
    whatever the run still writes is refused. Returns False for one that no worker has."""
    ends = {JobState.TIMEOUT: JobEvent.TIMED_OUT, JobState.CANCELLED: JobEvent.CANCELLED}
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        # As a run that finishes: its lease first, and then the job.
        cursor.execute("SELECT FROM job_leases WHERE job_id = %s FOR UPDATE", [job_id])
        cursor.execute(
            "UPDATE jobs SET state = %s, completed_at = clock_timestamp(), error_message = %s, "
            "updated_at = clock_timestamp() WHERE id = %s AND state IN ('ASSIGNED', 'RUNNING')",
            [state.value, storable(worded(reason)), job_id],
        )
        if not cursor.rowcount:
            return False
        cursor.execute("DELETE FROM job_leases WHERE job_id = %s", [job_id])
        if state is JobState.TIMEOUT:
            cursor.execute(
                "INSERT INTO job_failed_attempts (job_id, attempt, worker_id, started_at, "
                "failed_at, kind, message) SELECT id, attempts, worker_id, started_at, "
                "clock_timestamp(), 'ExecutionTimeout', %s FROM jobs WHERE id = %s",
                [storable(worded(reason)), job_id],
            )
        _record(ends[state], job_id, actor=actor, using=using, reason=reason)
    return True


def _record(event: JobEvent, job_id: uuid.UUID, *, actor: str, using: str, **facts: Any) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT correlation_id FROM jobs WHERE id = %s", [job_id])
        (correlation_id,) = cursor.fetchone()
    audit.record(
        event,
        {"job_id": str(job_id), **facts},
        actor=actor,
        correlation_id=correlation_id,
        about=job_id,
        using=using,
    )


_LOOK = """
SELECT j.state, j.orchestrated, j.queue,
       j.run_after IS NULL OR j.run_after <= clock_timestamp(),
       l.worker_id, j.worker_id,
       CASE WHEN j.state = 'RUNNING'
            THEN extract(epoch FROM clock_timestamp() - j.started_at)::float8 END,
       extract(epoch FROM j.timeout)::float8,
       extract(epoch FROM clock_timestamp() - l.cancel_requested_at)::float8,
       j.error_message, j.correlation_id
  FROM jobs AS j LEFT JOIN job_leases AS l ON l.job_id = j.id
 WHERE j.id = %s
"""
