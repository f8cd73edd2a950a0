"""CLEANUP: what a worker that has ended left behind at its provider is removed.

Input: ``worker_id``. The worker's row stays until its infrastructure is gone for sure.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connections

from jobs.models import Worker
from jobs.states import WORKER_FINAL
from sagas.builtin import infrastructure, telling
from sagas.builtin.inputs import refused, uuid_of
from sagas.definition import Retry, Saga, Step, StepContext
from sagas.providers import registered
from sagas.registry import register
from sagas.states import SagaKind

CLEANED = "WorkerCleanedUp"


def find_leftovers(context: StepContext) -> dict[str, Any]:
    worker_id = uuid_of(context.input, "worker_id")
    row = Worker.objects.using(context.using).filter(pk=worker_id).first()
    if row is None:
        raise refused(f"There is no worker {worker_id}.")
    if row.state not in WORKER_FINAL:
        raise refused(f"Worker {worker_id} is {row.state}; only what one that ended left goes.")
    if row.provider_type not in registered():
        raise refused(f"Nobody can ask a provider of type {row.provider_type!r}.")
    return {"worker_id": str(worker_id), "resource": row.provider_resource_id}


def destroy_infrastructure(context: StepContext) -> dict[str, Any]:
    infrastructure.destroy(uuid_of(context.input, "worker_id"), context.using)
    return {}


def forget_tokens(context: StepContext) -> dict[str, Any]:
    """No token of it lets anybody in any more."""
    worker_id = uuid_of(context.input, "worker_id")
    with connections[context.using].cursor() as cursor:
        cursor.execute(
            "UPDATE worker_bootstrap_tokens SET expires_at = clock_timestamp() "
            "WHERE worker_id = %s AND consumed_at IS NULL AND expires_at > clock_timestamp()",
            [worker_id],
        )
        expired = cursor.rowcount
    facts = {"worker_id": str(worker_id), "tokens_expired": expired}
    telling.tell(context, CLEANED, telling.WORKER, worker_id, facts)
    return facts


@register
class Cleanup(Saga):
    """It goes forward only: what is destroyed cannot be undone, and is tried until it is."""

    kind = SagaKind.CLEANUP.value
    limit = 10
    steps = (
        Step("find_leftovers", find_leftovers, local=True, pivot=True),
        Step(
            "destroy_infrastructure",
            destroy_infrastructure,
            timeout=timedelta(minutes=2),
            retry=Retry(attempts=10, base=1.0, cap=300.0, unknown=True),
        ),
        Step("forget_tokens", forget_tokens, local=True),
    )
