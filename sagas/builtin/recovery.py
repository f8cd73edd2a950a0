"""RECOVERY: the job of a worker that was lost goes to a new one.

Input: ``job_id``, and ``worker_id`` of the worker that is believed to be lost. It may come back at
any moment until its job is handed over: then it keeps the job, and the new worker goes.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

from jobs.models import Worker
from jobs.services import orchestration, workers
from jobs.services.lifecycle import JobNotFound
from jobs.states import WORKER_FINAL, JobState
from sagas.builtin import choice, infrastructure, telling
from sagas.builtin.inputs import actor_of, refused, uuid_of
from sagas.definition import Later, Retry, Saga, Step, StepContext, StepFailed
from sagas.exceptions import ResourceLocked
from sagas.providers import Ping, ProviderUnknown
from sagas.registry import register
from sagas.services.locks import acquire
from sagas.states import SagaKind

TRANSFERRED = "JobTransferred"


def check_connectivity(context: StepContext) -> dict[str, Any]:
    """Is it lost? Its provider may know, and its silence tells."""
    worker_id = uuid_of(context.input, "worker_id")
    if _has_ended(worker_id, context.using):
        return {"ended": True}
    ping = infrastructure.ping(worker_id, context.using)
    if ping is Ping.GONE:
        infrastructure.note(worker_id, {"gone": True}, context.using)
    elif not _is_silent(worker_id, context.using):
        raise refused(f"Worker {worker_id} gives signs of life, so there is nothing to recover.")
    return {"ping": ping.value}


def reserve_worker(context: StepContext) -> dict[str, Any]:
    """Choose who is to make the new one: the provider of the old one, if it may. Waits while
    another saga works on the old one."""
    old = uuid_of(context.input, "worker_id")
    try:
        acquire(context.saga_id, infrastructure.WORKER, old, using=context.using)
    except ResourceLocked as error:
        # It is being made still, or replaced.
        raise Later(1.0) from error
    try:
        job = orchestration.look(uuid_of(context.input, "job_id"), using=context.using)
    except JobNotFound as error:
        raise refused(error) from error
    if job.is_final:
        raise refused(f"Job {context.input['job_id']} is {job.state}: nothing is left to recover.")
    row = Worker.objects.using(context.using).filter(pk=old).first()
    provider_id = row.provider_id if row else None
    if choice.is_full(provider_id, context.using):
        # The place that is taken may be that of the lost one.
        with suppress(workers.WorkerAlive):
            _give_up(context, old)
    chosen = choice.provider_for(job.queue, first=provider_id, using=context.using)
    if chosen is None:
        raise refused(
            f"No provider can make a worker of queue {job.queue!r} now, in place of worker {old}."
        )
    return infrastructure.reserve(context, chosen, [])


def create_worker(context: StepContext) -> dict[str, Any]:
    return infrastructure.create(context, context.outputs["reserve_worker"])


def await_worker(context: StepContext) -> dict[str, Any]:
    return infrastructure.awaited(
        context,
        infrastructure.worker_of(context.saga_id),
        context.outputs["create_worker"]["handle"],
    )


def transfer_job(context: StepContext) -> dict[str, Any]:
    """Give up the old worker and lease its job to the new one, in one transaction; unless it has
    come back."""
    job_id, old = uuid_of(context.input, "job_id"), uuid_of(context.input, "worker_id")
    new = infrastructure.worker_of(context.saga_id)
    try:
        _give_up(context, old)
    except workers.WorkerAlive:
        return {"came_back": True, "worker_id": str(old)}
    try:
        job = orchestration.look(job_id, using=context.using)
    except JobNotFound as error:
        raise refused(error) from error
    facts = {"job_id": str(job_id), "from": str(old), "to": str(new)}
    if job.state is not JobState.PENDING:
        # It has ended, is held, or another worker has it: nothing of it is the old one's any more.
        return {**facts, "came_back": False, "transferred": False}
    assigned = orchestration.assign(
        job_id, worker_id=new, actor=actor_of(context), using=context.using
    )
    if assigned is None:
        raise StepFailed(f"Worker {new} cannot take job {job_id} now.")
    telling.tell(context, TRANSFERRED, telling.JOB, job_id, facts)
    return {**facts, "came_back": False, "transferred": True}


def terminate_old(context: StepContext) -> dict[str, Any]:
    """Whatever is left of the old one goes: it may run still, cut off from us."""
    if context.outputs["transfer_job"]["came_back"]:
        return {"terminated": False}
    try:
        infrastructure.destroy(uuid_of(context.input, "worker_id"), context.using)
    except ProviderUnknown:
        # Nobody can: somebody started it by hand, on a type of provider that is not installed.
        return {"terminated": False}
    return {"terminated": True}


def cancel_replacement(context: StepContext) -> dict[str, Any]:
    """The old one came back, so the new one was not needed."""
    if not context.outputs["transfer_job"]["came_back"]:
        return {"cancelled": False}
    new = infrastructure.worker_of(context.saga_id)
    infrastructure.end_worker(new, "The worker that it was to replace came back.", context)
    infrastructure.destroy(new, context.using)
    return {"cancelled": True, "worker_id": str(new)}


def _give_up(context: StepContext, worker_id: uuid.UUID) -> None:
    """End it in the register, which puts its jobs back. Raises WorkerAlive."""
    row = Worker.objects.using(context.using).filter(pk=worker_id).first()
    if row is None or row.state in WORKER_FINAL:
        return
    with suppress(workers.WorkerStateConflict):
        if isinstance(row.handle, dict) and row.handle.get("gone"):
            infrastructure.end_worker(worker_id, "Its provider says that it is gone.", context)
        else:
            workers.lose_worker(
                worker_id,
                reason="No sign of life, and its job goes to another.",
                actor=actor_of(context),
                using=context.using,
            )


def _has_ended(worker_id: uuid.UUID, using: str) -> bool:
    row = Worker.objects.using(using).filter(pk=worker_id).values_list("state", flat=True).first()
    return row is None or row in WORKER_FINAL


def _is_silent(worker_id: uuid.UUID, using: str) -> bool:
    return choice.silent_workers([worker_id], using) == {worker_id}


@register
class Recovery(Saga):
    """Turned back, the new worker is gone, and the job is where it was."""

    kind = SagaKind.RECOVERY.value
    deadline = timedelta(minutes=15)
    steps = (
        Step(
            "check_connectivity",
            check_connectivity,
            retry=Retry(attempts=10, base=0.5, cap=5.0, unknown=True),
        ),
        Step("reserve_worker", reserve_worker, infrastructure.unreserve, local=True),
        Step(
            "create_worker",
            create_worker,
            infrastructure.destroy_made,
            verify=infrastructure.verify,
            timeout=timedelta(minutes=2),
            total_timeout=timedelta(minutes=5),
            retry=Retry(attempts=3, base=1.0, cap=15.0),
        ),
        Step(
            "await_worker",
            await_worker,
            infrastructure.unreserve,
            total_timeout=timedelta(minutes=4),
            retry=Retry(attempts=1_000, base=0.5, cap=5.0, unknown=True),
        ),
        Step(
            "transfer_job",
            transfer_job,
            local=True,
            pivot=True,
            retry=Retry(attempts=50, base=0.2, cap=2.0),
        ),
        Step(
            "terminate_old",
            terminate_old,
            timeout=timedelta(minutes=2),
            retry=Retry(attempts=10, base=1.0, cap=60.0, unknown=True),
        ),
        Step(
            "cancel_replacement",
            cancel_replacement,
            timeout=timedelta(minutes=2),
            retry=Retry(attempts=10, base=1.0, cap=60.0, unknown=True),
        ),
    )
