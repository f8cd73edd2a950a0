"""EXECUTION: an orchestrated job is leased to a worker, and run until it has ended.

Input: ``job_id``. The queue is the only way in which other jobs run.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from jobs.services import lifecycle, orchestration
from jobs.services.lifecycle import JobNotFound, JobStateConflict
from jobs.services.orchestration import Look
from jobs.states import JOB_FINAL, JobState
from sagas import models
from sagas.builtin import infrastructure, telling
from sagas.builtin.cancellation import SECONDS_TO_STOP
from sagas.builtin.inputs import actor_of, refused, uuid_of
from sagas.definition import Later, Retry, Saga, Step, StepContext
from sagas.providers import Ping
from sagas.registry import register
from sagas.states import SAGA_LIVE, SagaKind

EXECUTED = "JobExecuted"
#: Seconds between two looks at a job: a share of how long it has run, within these.
SHORTEST_LOOK, LONGEST_LOOK, SHARE = 0.3, 5.0, 0.1
#: Seconds between two looks for a worker that has room.
NO_WORKER = 0.5


def validate_job(context: StepContext) -> dict[str, Any]:
    """It is there, waits, and is ours to have run."""
    job_id = uuid_of(context.input, "job_id")
    try:
        job = orchestration.look(job_id, using=context.using)
    except JobNotFound as error:
        raise refused(error) from error
    if not job.orchestrated:
        raise refused(f"Job {job_id} is run from the queue: it was not enqueued as orchestrated.")
    if job.state is not JobState.PENDING:
        raise refused(f"Job {job_id} is {job.state}, and only one that is PENDING is to be run.")
    return {"job_id": str(job_id), "queue": job.queue}


def hold_job(context: StepContext) -> None:
    """Nobody runs it now; a person has to look at it, and releases or cancels it."""
    with suppress(JobNotFound, JobStateConflict):
        lifecycle.hold(
            uuid_of(context.input, "job_id"),
            reason="its saga was turned back",
            actor=actor_of(context),
            using=context.using,
        )


def assign_worker(context: StepContext) -> dict[str, Any]:
    """Lease it to a worker that has room; wait for one."""
    job_id = uuid_of(context.input, "job_id")
    job = _look(context)
    if job.state is not JobState.PENDING:
        # Cancelled, or held, while it waited: what follows sees it, too.
        return {"worker_id": None}
    assignment = orchestration.assign(job_id, actor=actor_of(context), using=context.using)
    if assignment is None:
        raise Later(NO_WORKER)
    return {"worker_id": str(assignment.worker_id), "epoch": assignment.epoch}


def take_back(context: StepContext) -> None:
    """Its worker may have begun it at this moment, and is asked to stop it then."""
    job_id = uuid_of(context.input, "job_id")
    with suppress(JobNotFound):
        taken = orchestration.take_back(job_id, actor=actor_of(context), using=context.using)
        if not taken and orchestration.look(job_id, using=context.using).state is JobState.RUNNING:
            _ask_to_stop(context, job_id)


def execute(context: StepContext) -> dict[str, Any]:
    """Wait until it has ended. A run that failed and may be tried again is leased anew, and so is
    one whose worker was lost, unless RECOVERY is at it."""
    job = _look(context)
    if job.is_final or job.state is JobState.MANUAL_INTERVENTION_REQUIRED:
        return {"state": job.state.value, "worker_id": job.worker_id and str(job.worker_id)}
    if job.held_by is not None:
        _note_if_gone(context, job.held_by)
    elif job.state is JobState.PENDING and job.is_due and not _is_recovered(context, job):
        orchestration.assign(
            uuid_of(context.input, "job_id"), actor=actor_of(context), using=context.using
        )
    raise Later(pause(job))


def stop_job(context: StepContext) -> None:
    """Take it from its worker; or ask that to stop it, if it has begun, and wait until it has. One
    that does not stop it in time loses it."""
    job_id = uuid_of(context.input, "job_id")
    try:
        # Else it could begin it a moment after this has looked.
        orchestration.take_back(job_id, actor=actor_of(context), using=context.using)
        job = orchestration.look(job_id, using=context.using)
    except JobNotFound:
        return
    if job.state is not JobState.RUNNING:
        return
    if job.stopping_for is None:
        _ask_to_stop(context, job_id)
    elif job.stopping_for > SECONDS_TO_STOP:
        orchestration.end_anyway(
            job_id,
            JobState.CANCELLED,
            reason="its saga was turned back, and its worker did not stop it in time",
            actor=actor_of(context),
            using=context.using,
        )
    raise Later(1.0)


def _ask_to_stop(context: StepContext, job_id: uuid.UUID) -> None:
    with suppress(JobStateConflict, JobNotFound):
        lifecycle.cancel(
            job_id,
            reason="its saga was turned back",
            actor=actor_of(context),
            using=context.using,
        )


def complete_job(context: StepContext) -> dict[str, Any]:
    job_id = uuid_of(context.input, "job_id")
    facts = {"job_id": str(job_id), **context.outputs["execute"]}
    if facts["state"] in JOB_FINAL:
        telling.tell(context, EXECUTED, telling.JOB, job_id, facts)
    return facts


def pause(job: Look) -> float:
    """Pure: seconds until the next look."""
    return min(max((job.running_for or 0.0) * SHARE, SHORTEST_LOOK), LONGEST_LOOK)


def _look(context: StepContext) -> Look:
    try:
        return orchestration.look(uuid_of(context.input, "job_id"), using=context.using)
    except JobNotFound as error:
        raise refused(error) from error


def _is_recovered(context: StepContext, job: Look) -> bool:
    """Whether a RECOVERY of the worker that had it is under way."""
    return (
        models.Saga.objects.using(context.using)
        .filter(
            saga_type=SagaKind.RECOVERY,
            business_key=str(job.worker_id),
            state__in=[state.value for state in SAGA_LIVE],
        )
        .exists()
    )


def _note_if_gone(context: StepContext, worker_id: uuid.UUID) -> None:
    """Its provider may know that a worker is gone long before its silence tells: the scheduler
    looks at what is noted here."""
    if infrastructure.ping(worker_id, context.using) is Ping.GONE:
        infrastructure.note(worker_id, {"gone": True}, context.using)


@register
class Execution(Saga):
    """It ends when the job has: succeeded, failed for good, cancelled or timed out. Turned back,
    the job is stopped and held for a person."""

    kind = SagaKind.EXECUTION.value
    steps = (
        Step("validate_job", validate_job, hold_job, local=True),
        Step("assign_worker", assign_worker, take_back, local=True),
        # It only looks: asked again after a crash, it looks again.
        Step(
            "execute",
            execute,
            stop_job,
            retry=Retry(attempts=1_000_000, base=0.5, cap=15.0, unknown=True),
            compensation_retry=Retry(attempts=60, base=1.0, cap=10.0),
        ),
        Step("complete_job", complete_job, local=True, pivot=True),
    )
