"""TIMEOUT: a job that its worker does not end in time is ended, and its worker is looked at.

Input: ``job_id``. A worker ends its runs at their timeout by itself: this is for one that is cut
off, or hangs.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from jobs.models import Worker
from jobs.services import orchestration
from jobs.services.lifecycle import JobNotFound
from jobs.states import WORKER_FINAL, JobState
from sagas.builtin import choice, infrastructure, telling
from sagas.builtin.inputs import actor_of, refused, uuid_of
from sagas.definition import Retry, Saga, Step, StepContext
from sagas.providers import Ping
from sagas.registry import register
from sagas.states import SagaKind

ENFORCED = "JobTimeoutEnforced"
#: Seconds that a worker has beyond the timeout to end a run by itself.
GRACE_SECONDS = 30.0


def validate_overdue(context: StepContext) -> dict[str, Any]:
    job_id = uuid_of(context.input, "job_id")
    try:
        job = orchestration.look(job_id, using=context.using)
    except JobNotFound as error:
        raise refused(error) from error
    if job.running_for is None or job.timeout is None:
        raise refused(f"Job {job_id} is {job.state}, or has no timeout of its own.")
    if job.running_for < job.timeout + GRACE_SECONDS:
        raise refused(
            f"Job {job_id} runs for {job.running_for:.0f} s and may for {job.timeout:.0f} s; its "
            f"worker has {GRACE_SECONDS:.0f} s more to end it."
        )
    return {
        "job_id": str(job_id),
        "worker_id": job.held_by and str(job.held_by),
        "timeout": job.timeout,
    }


def end_run(context: StepContext) -> dict[str, Any]:
    """TIMEOUT, and the lease is gone: whatever the run still writes is refused."""
    ended = orchestration.end_anyway(
        uuid_of(context.input, "job_id"),
        JobState.TIMEOUT,
        reason=f"It took longer than {context.outputs['validate_overdue']['timeout']:.0f} s, and "
        "its worker did not end it.",
        actor=actor_of(context),
        using=context.using,
    )
    return {"ended": ended}


def check_worker(context: StepContext) -> dict[str, Any]:
    """A worker that is gone, or silent, is ended; one that gives signs of life hangs in one run
    alone, and goes on."""
    worker = context.outputs["validate_overdue"]["worker_id"]
    if worker is None:
        return {"worker_ended": False}
    worker_id = uuid.UUID(worker)
    row = Worker.objects.using(context.using).filter(pk=worker_id).first()
    if row is None or row.state in WORKER_FINAL:
        return {"worker_ended": False}
    gone = infrastructure.ping(worker_id, context.using) is Ping.GONE
    if not gone and not choice.silent_workers([worker_id], context.using):
        return {"worker_ended": False}
    infrastructure.end_worker(worker_id, "It ended no run in time, and is gone.", context)
    return {"worker_ended": True}


def publish_enforced(context: StepContext) -> dict[str, Any]:
    job_id = uuid_of(context.input, "job_id")
    facts = {
        "job_id": str(job_id),
        "worker_id": context.outputs["validate_overdue"]["worker_id"],
        **context.outputs["end_run"],
        **context.outputs["check_worker"],
    }
    if facts["ended"]:
        telling.tell(context, ENFORCED, telling.JOB, job_id, facts)
    return facts


@register
class Timeout(Saga):
    """Ending the run is the pivot."""

    kind = SagaKind.TIMEOUT.value
    deadline = timedelta(minutes=5)
    steps = (
        Step("validate_overdue", validate_overdue, local=True),
        Step("end_run", end_run, local=True, pivot=True),
        Step(
            "check_worker",
            check_worker,
            retry=Retry(attempts=100, base=0.5, cap=15.0, unknown=True),
        ),
        Step("publish", publish_enforced, local=True),
    )
