"""Enqueues what schedules are due: any worker may do it, one at a time.

It is asked by the rescuer, on the fetcher's connection. One transaction deals with a schedule: its
jobs are there and its next time is set, or neither. Should two tick all the same, the idempotency
keys let the second find the first one's jobs.
"""

from __future__ import annotations

import json
import logging
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hodei.compat import uuid7
from hodei.sql import statement
from jobs import telling
from jobs.cron import CronInvalid, times
from jobs.due import decide
from jobs.events import JobEvent
from jobs.runs import failure_of
from jobs.services import audit
from jobs.services.queue import checked
from jobs.services.schedules import job_of
from jobs.spec import JobInvalid
from jobs.states import Missed, Overlap

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

#: The number of the lock of whoever ticks.
TICK = 0x6A6F6203
#: Schedules of one look.
MOST = 100


def tick(session: psycopg.Connection[Any]) -> int:
    """Deal with what is due now, unless another does at this moment; returns how many jobs were
    enqueued. A transaction for each schedule: none holds the jobs of two, for which somebody who
    finishes both could wait crosswise."""
    enqueued = 0
    seen: list[int] = []
    while len(seen) < MOST:
        with session.transaction():
            row = session.execute("SELECT pg_try_advisory_xact_lock(%s, 0)", [TICK]).fetchone()
            if row is None or not row[0]:
                break
            due = session.execute(
                statement("jobs", "due_schedules"), {"number": 1, "seen": seen}
            ).fetchone()
            if due is None:
                break
            seen.append(due[0])
            enqueued += _run(session, due)
    return enqueued


def _run(session: psycopg.Connection[Any], schedule: tuple[Any, ...]) -> int:
    from psycopg import Error  # noqa: PLC0415

    key, name, cron, zone, spec, options, overlap, missed, next_run_at, last_job = schedule[:10]
    newest_known, now = schedule[10:]
    try:
        if newest_known is not None and newest_known > now:
            _begin_anew(session, key, name, next(times(cron, zone, after=now), None))
            return 0
        due = decide(
            expression=cron,
            time_zone=zone,
            missed=Missed(missed),
            next_run_at=next_run_at,
            now=now,
        )
        jobs = [
            (instant, checked(job_of(name, json.loads(spec), json.loads(options), instant)))
            for instant in due.run
        ]
    except Error:
        raise
    except Exception as error:  # noqa: BLE001  (it may be anybody's executor that looks at the spec)
        # What is wrong with one must not keep the others from their times, nor end who looks.
        known = isinstance(error, CronInvalid | JobInvalid)
        told = logger.error if known else logger.exception
        words = str(error) if known else failure_of(error).message
        told("schedule cannot run and was disabled name=%s error=%s", name, words)
        session.execute("UPDATE job_schedules SET enabled = false WHERE id = %s", [key])
        _record(session, "ScheduleFailed", {"schedule": name, "error": words})
        return 0
    if due.missed:
        logger.warning("times of a schedule were missed name=%s times=%s", name, due.missed)
        _record(session, "ScheduleMissed", {"schedule": name, "times": due.missed})
    enqueued = 0
    for instant, columns in jobs:
        found, is_new = _enqueue(session, Overlap(overlap), name, last_job, columns)
        last_job, enqueued = found or last_job, enqueued + is_new
        session.execute(
            "UPDATE job_schedules SET last_run_at = %s, last_job_id = %s WHERE id = %s",
            [instant, last_job, key],
        )
    session.execute(
        "UPDATE job_schedules SET next_run_at = %s, updated_at = clock_timestamp() WHERE id = %s",
        [due.next_run_at, key],
    )
    return enqueued


def _begin_anew(
    session: psycopg.Connection[Any], key: int, name: str, next_run_at: datetime | None
) -> None:
    """The clock was put back. What was enqueued for the times that come again is found by its key,
    as long as that job is kept."""
    logger.warning("the clock was put back, schedule goes on from now name=%s", name)
    session.execute(
        "UPDATE job_schedules SET next_run_at = %s, last_run_at = NULL, "
        "updated_at = clock_timestamp() WHERE id = %s",
        [next_run_at, key],
    )


def _enqueue(
    session: psycopg.Connection[Any],
    overlap: Overlap,
    name: str,
    last_job: uuid.UUID | None,
    columns: dict[str, Any],
) -> tuple[uuid.UUID | None, bool]:
    """Returns the job, or None where the last one has not ended and the rule is to skip; and
    whether it is new."""
    if overlap is not Overlap.QUEUE and last_job is not None and _is_open(session, last_job):
        if overlap is Overlap.SKIP:
            logger.info("schedule skips a time, its last job has not ended name=%s", name)
            return None, False
        _replace(session, name, last_job)
    given = {"id": uuid7(), **columns}
    ((found, is_new, _),) = session.execute(telling.text("enqueue"), given).fetchall()
    return found, is_new


def _is_open(session: psycopg.Connection[Any], job: uuid.UUID) -> bool:
    row = session.execute(
        "SELECT 1 FROM jobs WHERE id = %s "
        "AND state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMEOUT')",
        [job],
    ).fetchone()
    return row is not None


def _replace(session: psycopg.Connection[Any], name: str, job: uuid.UUID) -> None:
    """Cancel the last job: at once if it has not begun, by asking its worker if it runs. See Note
    [Order of locks]."""
    session.execute("DELETE FROM job_queue WHERE job_id = %s", [job])
    session.execute("DELETE FROM job_queue_deferred WHERE job_id = %s", [job])
    session.execute("SELECT 1 FROM job_leases WHERE job_id = %s FOR UPDATE", [job])
    session.execute(
        "DELETE FROM job_leases AS l USING jobs AS j "
        "WHERE l.job_id = %s AND j.id = l.job_id AND j.state IN ('ASSIGNED', 'SCHEDULED')",
        [job],
    )
    cancelled = session.execute(
        "UPDATE jobs SET state = 'CANCELLED', completed_at = clock_timestamp(), "
        "error_message = %s, updated_at = clock_timestamp() WHERE id = %s AND state IN "
        "('CREATED', 'PENDING', 'ASSIGNED', 'SCHEDULED', 'MANUAL_INTERVENTION_REQUIRED')",
        [f"Replaced by the next job of schedule {name}", job],
    ).rowcount
    if cancelled:
        session.execute(statement("jobs", "leave_new_place"), {"job": job})
    elif not session.execute(
        "UPDATE job_leases SET cancel_requested_at = coalesce(cancel_requested_at, "
        "clock_timestamp()) WHERE job_id = %s "
        "AND EXISTS (SELECT FROM jobs WHERE id = %s AND state = 'RUNNING')",
        [job, job],
    ).rowcount:
        # It has ended meanwhile.
        return
    correlation = session.execute("SELECT correlation_id FROM jobs WHERE id = %s", [job]).fetchone()
    event = JobEvent.CANCELLED if cancelled else "JobCancelRequested"
    payload = {"job_id": str(job), "schedule": name, "reason": "replaced"}
    given = audit.Record(payload=payload, correlation_id=correlation and correlation[0], about=job)
    audit.write(session, event, [given])


def _record(session: psycopg.Connection[Any], event: str, payload: dict[str, Any]) -> None:
    audit.write(session, event, [audit.Record(payload=payload)])
