"""CANCELLATION: a job is stopped, by asking its worker first, and without it in the end.

Input: ``job_id`` and ``reason``. Any job: one in the queue is out of it at once.
"""

from __future__ import annotations

from typing import Any

from jobs.services import lifecycle, orchestration
from jobs.services.lifecycle import JobNotFound, JobStateConflict
from jobs.states import JOB_FINAL, JobState
from sagas.builtin import telling
from sagas.builtin.inputs import actor_of, refused, uuid_of
from sagas.definition import Later, Retry, Saga, Step, StepContext
from sagas.registry import register
from sagas.states import SagaKind

STOPPED = "JobStopped"
#: Seconds that a worker has to notice that it was asked (a third of a lease), and to end the run
#: (what a command gets between its two signals).
SECONDS_TO_STOP = 30.0


def validate_job(context: StepContext) -> dict[str, Any]:
    job_id = uuid_of(context.input, "job_id")
    try:
        job = orchestration.look(job_id, using=context.using)
    except JobNotFound as error:
        raise refused(error) from error
    if job.is_final:
        raise refused(f"Job {job_id} is {job.state} already.")
    return {"job_id": str(job_id), "state": job.state.value}


def request_stop(context: StepContext) -> dict[str, Any]:
    try:
        outcome = lifecycle.cancel(
            uuid_of(context.input, "job_id"),
            reason=reason_of(context),
            actor=context.actor or actor_of(context),
            using=context.using,
        )
    except JobNotFound as error:
        raise refused(error) from error
    except JobStateConflict as error:
        # It has ended meanwhile, by itself.
        return {"outcome": "ended", "found": error.found}
    return {"outcome": outcome.value}


def await_stop(context: StepContext) -> dict[str, Any]:
    """Until it has ended. A worker that does not end it in time loses it."""
    job_id = uuid_of(context.input, "job_id")
    try:
        job = orchestration.look(job_id, using=context.using)
    except JobNotFound:
        return {"state": None}
    if not job.is_final and (job.stopping_for or 0.0) > SECONDS_TO_STOP:
        orchestration.end_anyway(
            job_id,
            JobState.CANCELLED,
            reason=f"Its worker did not stop it in time: {reason_of(context)}",
            actor=actor_of(context),
            using=context.using,
        )
        job = orchestration.look(job_id, using=context.using)
    if job.state not in JOB_FINAL:
        raise Later(1.0)
    return {"state": job.state.value}


def publish_stopped(context: StepContext) -> dict[str, Any]:
    job_id = uuid_of(context.input, "job_id")
    facts = {"job_id": str(job_id), "state": context.outputs["await_stop"]["state"]}
    telling.tell(context, STOPPED, telling.JOB, job_id, {**facts, "reason": reason_of(context)})
    return facts


def reason_of(context: StepContext) -> str:
    return str(context.input.get("reason") or "cancelled by a saga")


@register
class Cancellation(Saga):
    """Asking is the pivot: a job that was asked to stop is not asked to go on."""

    kind = SagaKind.CANCELLATION.value
    steps = (
        Step("validate_job", validate_job, local=True),
        Step("request_stop", request_stop, local=True, pivot=True),
        Step(
            "await_stop",
            await_stop,
            retry=Retry(attempts=1_000, base=0.5, cap=15.0, unknown=True),
        ),
        Step("publish", publish_stopped, local=True),
    )
