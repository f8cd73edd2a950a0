"""PROVISIONING: a provider makes a worker, which registers.

Input: ``provider_id``, and ``queues``, a list of names (none is what the provider says, or all).
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from sagas.builtin import infrastructure, telling
from sagas.builtin.inputs import refused, uuid_of
from sagas.definition import Retry, Saga, Step, StepContext
from sagas.registry import register
from sagas.states import SagaKind

PROVISIONED = "WorkerProvisioned"


def validate_capacity(context: StepContext) -> dict[str, Any]:
    """The provider is there and may have one more, which is noted: it has that place."""
    queues = context.input.get("queues") or []
    if not isinstance(queues, list) or not all(isinstance(name, str) and name for name in queues):
        raise refused(f"input['queues'] is {queues!r:.80}; it is a list of names.")
    return infrastructure.reserve(context, uuid_of(context.input, "provider_id"), queues)


def create_infrastructure(context: StepContext) -> dict[str, Any]:
    return infrastructure.create(context, context.outputs["validate_capacity"])


def register_worker(context: StepContext) -> dict[str, Any]:
    """It registers by itself, with its token: this waits for it."""
    return infrastructure.awaited(
        context,
        infrastructure.worker_of(context.saga_id),
        context.outputs["create_infrastructure"]["handle"],
    )


def publish_provisioned(context: StepContext) -> dict[str, Any]:
    reserved = context.outputs["validate_capacity"]
    worker_id = uuid.UUID(reserved["worker_id"])
    facts = {"worker_id": str(worker_id), "provider_id": reserved["provider_id"]}
    telling.tell(context, PROVISIONED, telling.WORKER, worker_id, facts)
    return facts


@register
class Provisioning(Saga):
    """Turned back, it leaves nothing: the worker has ended, and its infrastructure is destroyed."""

    kind = SagaKind.PROVISIONING.value
    deadline = timedelta(minutes=10)
    limit = 20
    steps = (
        Step("validate_capacity", validate_capacity, infrastructure.unreserve, local=True),
        Step(
            "create_infrastructure",
            create_infrastructure,
            infrastructure.destroy_made,
            verify=infrastructure.verify,
            timeout=timedelta(minutes=2),
            total_timeout=timedelta(minutes=5),
            retry=Retry(attempts=3, base=1.0, cap=15.0),
        ),
        Step(
            "register_worker",
            register_worker,
            infrastructure.unreserve,
            total_timeout=timedelta(minutes=4),
            # It only looks.
            retry=Retry(attempts=1_000, base=0.5, cap=5.0, unknown=True),
        ),
        Step("publish", publish_provisioned, local=True, pivot=True),
    )
