"""Cancel, retry, hold, release, reorder and delete jobs: what a person decides, with a reason.

Each is one transaction of its own, or joins the caller's. Every change is guarded by the state that
it was decided on: whoever comes second is told, and changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.redaction import redact_text
from hodei.sql import statement
from hodei.values import identifier, named, worded
from jobs.events import JobEvent
from jobs.retry import storable
from jobs.services import audit
from jobs.spec import checked_priority
from jobs.states import JobState
from jobs.wakeup import WAKE

# Note [Order of locks]
# A claim locks a job's place in the queue and then the job; a finish its lease and then the job. So
# does everything here, and nobody waits crosswise. While it waited, others may have given the job a
# place that was not there before: a run that failed and goes back, somebody who released it. Once
# the job's row is locked that is looked at again, without waiting: whoever has the place just then
# takes it away, or finds that the job is not to be run. A job that is deleted takes its places with
# it, by a foreign key that waits for them: it is not deleted while somebody has one.
#
# Those that lock several leases, and may have some in common, lock them in the order of their jobs,
# or without waiting. Whoever ends a worker locks it before its leases.


class JobNotFound(LookupError):  # noqa: N818  (it reads as the fact it states)
    """There is no job of this id."""

    def __init__(self, job_id: uuid.UUID) -> None:
        super().__init__(f"There is no job {named(job_id)}.")


class JobStateConflict(Exception):  # noqa: N818
    """The job is in no state from which this is possible. Nothing was changed."""

    def __init__(self, job_id: uuid.UUID, found: str, action: str, allowed: str) -> None:
        self.job_id = job_id
        self.found = found
        super().__init__(f"Job {job_id} is {found} and cannot be {action}; {allowed}.")


class CancelOutcome(StrEnum):
    """What cancelling has done."""

    CANCELLED = "cancelled"  # it had not begun, and never will
    REQUESTED = "requested"  # it runs, and its worker has been asked to stop it


def cancel(
    job_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> CancelOutcome:
    """Stop a job: at once if it has not begun, by asking its worker if it runs.

    Raises JobNotFound, and JobStateConflict for a job that has ended.
    """
    with _deciding(job_id, using) as cursor:
        _leave_queue(cursor, job_id)
        _give_up_unstarted_lease(cursor, job_id)
        cursor.execute(
            "UPDATE jobs SET state = 'CANCELLED', completed_at = clock_timestamp(), "
            "error_message = %s, updated_at = clock_timestamp() WHERE id = %s AND state IN "
            "('CREATED', 'PENDING', 'ASSIGNED', 'SCHEDULED', 'MANUAL_INTERVENTION_REQUIRED')",
            [_said("Cancelled", actor, reason), job_id],
        )
        if cursor.rowcount:
            outcome = CancelOutcome.CANCELLED
            _leave_new_place(cursor, job_id)
        else:
            outcome = CancelOutcome.REQUESTED
            cursor.execute(
                # One that was completed in a transaction of its own may have its lease still.
                "UPDATE job_leases SET cancel_requested_at = coalesce(cancel_requested_at, "
                "clock_timestamp()) WHERE job_id = %s "
                "AND EXISTS (SELECT FROM jobs WHERE id = %s AND state = 'RUNNING')",
                [job_id, job_id],
            )
            if not cursor.rowcount:
                raise _conflict(cursor, job_id, "cancelled", "it has ended")
        told = JobEvent.CANCELLED if outcome is CancelOutcome.CANCELLED else "JobCancelRequested"
        _record(told, job_id, reason=reason, actor=actor, using=using)
    return outcome


def retry(job_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> None:
    """Let a failed job run again, at least once more, however many attempts it has spent.

    Raises JobNotFound, and JobStateConflict for a job that has not failed.
    """
    with _deciding(job_id, using) as cursor:
        cursor.execute(
            "UPDATE jobs SET state = 'PENDING', completed_at = NULL, result = NULL, "
            "error_message = NULL, run_after = NULL, lost_leases = 0, "
            "max_attempts = greatest(max_attempts, attempts + 1), updated_at = clock_timestamp() "
            "WHERE id = %s AND state IN ('FAILED', 'TIMEOUT')",
            [job_id],
        )
        if not cursor.rowcount:
            raise _conflict(cursor, job_id, "retried", "only FAILED and TIMEOUT can be")
        _enter_queue(cursor, job_id)
        _record(JobEvent.RETRIED, job_id, reason=reason, actor=actor, using=using)


def hold(job_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> None:
    """Keep a job that has not begun from running, until it is released.

    Raises JobNotFound, and JobStateConflict for a job that runs or has ended.
    """
    with _deciding(job_id, using) as cursor:
        _leave_queue(cursor, job_id)
        _give_up_unstarted_lease(cursor, job_id)
        cursor.execute(
            "UPDATE jobs SET state = 'MANUAL_INTERVENTION_REQUIRED', error_message = %s, "
            "updated_at = clock_timestamp() "
            "WHERE id = %s AND state IN ('PENDING', 'ASSIGNED', 'SCHEDULED')",
            [_said("Held", actor, reason), job_id],
        )
        if not cursor.rowcount:
            raise _conflict(cursor, job_id, "held", "only one that has not begun can be")
        _leave_new_place(cursor, job_id)
        _record(JobEvent.HELD, job_id, reason=reason, actor=actor, using=using)


def release(job_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> None:
    """Let a job that is held go back into the queue; and one into it that the original has only
    CREATED.

    Raises JobNotFound, and JobStateConflict for a job that is not held.
    """
    with _deciding(job_id, using) as cursor:
        _leave_queue(cursor, job_id)
        cursor.execute(
            "UPDATE jobs SET state = 'PENDING', error_message = NULL, "
            "updated_at = clock_timestamp() "
            "WHERE id = %s AND state IN ('MANUAL_INTERVENTION_REQUIRED', 'CREATED')",
            [job_id],
        )
        if not cursor.rowcount:
            raise _conflict(cursor, job_id, "released", "only a held one can be")
        _enter_queue(cursor, job_id)
        _record(JobEvent.RELEASED, job_id, reason=reason, actor=actor, using=using)


def set_priority(
    job_id: uuid.UUID, priority: int, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> None:
    """Let a job that waits, or is held, go before others of its queue or after them.

    Raises JobInvalid, JobNotFound, and JobStateConflict for a job that has begun or has ended.
    """
    given = checked_priority(priority)
    with _deciding(job_id, using) as cursor:
        for table in _PLACES:
            cursor.execute(
                f"UPDATE {table} SET priority = %s WHERE job_id = %s",  # noqa: S608  (our own words)
                [given, job_id],
            )
        cursor.execute(
            "UPDATE jobs SET priority = %s, updated_at = clock_timestamp() "
            "WHERE id = %s AND state IN ('PENDING', 'MANUAL_INTERVENTION_REQUIRED')",
            [given, job_id],
        )
        if not cursor.rowcount:
            allowed = "only one that waits or is held can be"
            raise _conflict(cursor, job_id, "given another priority", allowed)
        cursor.execute(
            "WITH later AS (UPDATE job_queue_deferred SET priority = %(priority)s WHERE job_id IN ("
            "SELECT job_id FROM job_queue_deferred WHERE job_id = %(job)s FOR UPDATE SKIP LOCKED)) "
            "UPDATE job_queue SET priority = %(priority)s WHERE job_id IN (SELECT job_id "
            "FROM job_queue WHERE job_id = %(job)s FOR UPDATE SKIP LOCKED)",
            {"priority": given, "job": job_id},
        )
        _record("JobPriorityChanged", job_id, reason=reason, actor=actor, using=using,
                priority=given)  # fmt: skip


def delete(job_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> None:
    """Remove a job with all that belongs to it; the audit stays.

    Raises JobNotFound, and JobStateConflict for a job that a worker holds.
    """
    with _deciding(job_id, using) as cursor:
        _leave_queue(cursor, job_id)
        cursor.execute("SELECT state FROM jobs WHERE id = %s FOR UPDATE", [job_id])
        row = cursor.fetchone()
        if row is None:
            raise JobNotFound(job_id)
        if row[0] in {JobState.ASSIGNED, JobState.SCHEDULED, JobState.RUNNING}:
            raise JobStateConflict(job_id, row[0], "deleted", "cancel it first")
        _leave_new_place(cursor, job_id)
        if _has_place(cursor, job_id):
            allowed = "somebody takes it at this moment, so try again"
            raise JobStateConflict(job_id, row[0], "deleted", allowed)
        _record(JobEvent.DELETED, job_id, reason=reason, actor=actor, using=using)
        cursor.execute("DELETE FROM jobs WHERE id = %s", [job_id])


@contextmanager
def _deciding(job_id: uuid.UUID, using: str) -> Iterator[Any]:
    """A transaction, or the caller's. Raises JobNotFound for what is the id of nothing."""
    if identifier(job_id) is None:
        raise JobNotFound(job_id)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        yield cursor


def _said(verb: str, actor: str, reason: str) -> str:
    """What the job keeps of it, as the audit does: without secrets, and cut."""
    return storable(redact_text(f"{verb} by {worded(actor)}: {worded(reason)}"))


#: Where jobs wait, in the order in which they go through them.
_PLACES = ("job_queue_deferred", "job_queue")


def _leave_queue(cursor: Any, job_id: uuid.UUID) -> None:
    for table in _PLACES:
        cursor.execute(f"DELETE FROM {table} WHERE job_id = %s", [job_id])  # noqa: S608


def _leave_new_place(cursor: Any, job_id: uuid.UUID) -> None:
    """With the job's row, so without waiting for whoever has the place."""
    cursor.execute(statement("jobs", "leave_new_place"), {"job": job_id})


def _has_place(cursor: Any, job_id: uuid.UUID) -> bool:
    cursor.execute(
        " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE job_id = %s" for table in _PLACES),  # noqa: S608
        [job_id] * len(_PLACES),
    )
    return cursor.fetchone() is not None


def _enter_queue(cursor: Any, job_id: uuid.UUID) -> None:
    cursor.execute(
        "INSERT INTO job_queue (job_id, queue, priority) SELECT id, queue, priority FROM jobs "
        "WHERE id = %s AND NOT orchestrated ON CONFLICT (job_id) DO NOTHING RETURNING queue",
        [job_id],
    )
    queues = [row[0] for row in cursor.fetchall()]
    cursor.execute(statement("jobs", "wake"), {"queues": queues, **WAKE})


def _give_up_unstarted_lease(cursor: Any, job_id: uuid.UUID) -> None:
    """Take it from a worker that has not begun it: it cannot begin without its lease."""
    # A worker that begins it at this moment holds the lease's row: what follows sees what it did.
    cursor.execute("SELECT FROM job_leases WHERE job_id = %s FOR UPDATE", [job_id])
    cursor.execute(
        "DELETE FROM job_leases AS l USING jobs AS j "
        "WHERE l.job_id = %s AND j.id = l.job_id AND j.state IN ('ASSIGNED', 'SCHEDULED')",
        [job_id],
    )


def _conflict(cursor: Any, job_id: uuid.UUID, action: str, allowed: str) -> Exception:
    cursor.execute("SELECT state FROM jobs WHERE id = %s", [job_id])
    row = cursor.fetchone()
    if row is None:
        return JobNotFound(job_id)
    return JobStateConflict(job_id, row[0], action, allowed)


def _record(
    event_type: str, job_id: uuid.UUID, *, reason: str, actor: str, using: str, **facts: Any
) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT correlation_id, name, state FROM jobs WHERE id = %s", [job_id])
        correlation_id, name, state = cursor.fetchone()
    audit.record(
        event_type,
        {"job_id": str(job_id), "name": name, "state": state, "reason": reason, **facts},
        actor=actor,
        correlation_id=correlation_id,
        about=job_id,
        using=using,
    )
