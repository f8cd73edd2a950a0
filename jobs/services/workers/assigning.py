"""The one job of a worker that runs one at a time."""

from __future__ import annotations

import uuid

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction

from hodei.values import identifier
from jobs.models import Worker
from jobs.services.lifecycle import JobNotFound
from jobs.services.workers.recording import tell_of
from jobs.services.workers.refusals import JobHasWorker, conflict, known
from jobs.services.workers.states import clock
from jobs.states import WorkerState


def assign(worker_id: uuid.UUID, job_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Note the one job of a worker that runs one at a time: READY becomes BUSY. The lease decides
    who runs it; this is for those who look. Joins the caller's transaction.

    Raises WorkerNotFound, WorkerStateConflict for one that is not READY, JobNotFound and
    JobHasWorker.
    """
    known(worker_id)
    if identifier(job_id) is None:
        raise JobNotFound(job_id)
    try:
        with transaction.atomic(using=using):
            moved = (
                Worker.objects.using(using)
                .filter(pk=worker_id, state=WorkerState.READY, current_job=None)
                .update(state=WorkerState.BUSY, current_job=job_id, updated_at=clock())
            )
    except IntegrityError as error:
        if "workers_one_live_per_job" in str(error):
            raise JobHasWorker(job_id) from error
        if "workers_current_job_id" in str(error):
            raise JobNotFound(job_id) from error
        raise
    if not moved:
        raise conflict(worker_id, "take a job", "only a READY one without a job can", using)
    tell_of(worker_id, WorkerState.BUSY, using)


def release(worker_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """The worker has finished its one job: BUSY becomes READY, DRAINING stays. Joins the
    caller's transaction. Raises WorkerNotFound, and WorkerStateConflict for any other state."""
    known(worker_id)
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE workers SET current_job_id = NULL, updated_at = clock_timestamp(), "
            "state = CASE state WHEN 'BUSY' THEN 'READY' ELSE state END "
            "WHERE id = %s AND state IN ('BUSY', 'DRAINING', 'TERMINATING') RETURNING state",
            [worker_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise conflict(worker_id, "give its job back", "only a BUSY one can", using)
    if row[0] == WorkerState.READY:
        tell_of(worker_id, WorkerState.READY, using)
