"""Steps that PROVISIONING and RECOVERY share: a worker is noted, made, awaited, and unmade again.

The worker's id follows from the saga's, so whoever drives the saga means the same one.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.db import connections

from jobs.models import Provider, Worker
from jobs.services import providers, workers
from jobs.services.tokens import issue_token
from jobs.states import WORKER_FINAL, WorkerState
from sagas.builtin.inputs import actor_of, refused
from sagas.definition import NOT_DONE, Done, Later, StepContext, Verdict
from sagas.providers import (
    Handle,
    InfrastructureProvider,
    Ping,
    ProviderRefused,
    ProviderUnknown,
    WorkerOrder,
    provider_of,
)
from sagas.services.locks import acquire

MOST_CONCURRENCY = 1_000
#: The type of the resource that a saga locks which makes a worker, or takes its jobs from it.
WORKER = "WORKER"


def worker_of(saga_id: uuid.UUID) -> uuid.UUID:
    """The worker that this saga makes."""
    return uuid.uuid5(saga_id, "worker")


def resource_of(worker_id: uuid.UUID) -> str:
    """The key by which a provider knows a worker."""
    return f"hodei-{worker_id}"


def reserve(context: StepContext, provider_id: uuid.UUID, queues: list[str]) -> dict[str, Any]:
    """Note a worker that is about to be made, if the provider has room; until the saga ends no
    other one works on it. In the caller's transaction. Raises StepFailed for good."""
    config = _config(provider_id, context.using)
    worker_id = worker_of(context.saga_id)
    spec = {"queues": queues or _queues(config), "concurrency": _concurrency(config)}
    try:
        provider_of(_type(provider_id, context.using), config)
        workers.create(
            worker_id,
            provider_id=provider_id,
            resource_id=resource_of(worker_id),
            spec=spec,
            actor=actor_of(context),
            using=context.using,
        )
    except (providers.ProviderConflict, providers.ProviderNotFound) as error:
        raise refused(error) from error
    except (ProviderUnknown, ProviderRefused) as error:
        raise refused(error) from error
    acquire(context.saga_id, WORKER, worker_id, using=context.using)
    return {"worker_id": str(worker_id), "provider_id": str(provider_id), **spec}


def unreserve(context: StepContext) -> None:
    """The worker, whatever has become of it, has ended; its jobs are put back."""
    end_worker(worker_of(context.saga_id), "It was not to be made after all.", context)


def create(context: StepContext, reserved: Mapping[str, Any]) -> dict[str, Any]:
    """Have the provider make it. The token is issued last of all before that: it is the only thing
    that cannot be had again."""
    worker_id = uuid.UUID(reserved["worker_id"])
    found = find(context, worker_id)
    if found is not None:
        return _made(worker_id, found, context.using)
    provider = implementation(worker_id, context.using)
    order = WorkerOrder(
        worker_id=worker_id,
        token=issue_token(worker_id, actor=actor_of(context), using=context.using),
        queues=tuple(reserved["queues"]),
        concurrency=reserved["concurrency"],
    )
    try:
        handle = provider.create(resource_of(worker_id), order)
    except ProviderRefused as error:
        raise refused(error) from error
    return _made(worker_id, dict(handle), context.using)


def verify(context: StepContext) -> Verdict:
    """Ask the provider whether the worker that this saga makes was made."""
    found = find(context, worker_of(context.saga_id))
    return NOT_DONE if found is None else Done({"handle": found})


def find(context: StepContext, worker_id: uuid.UUID) -> dict[str, Any] | None:
    found = implementation(worker_id, context.using).verify(resource_of(worker_id))
    return None if found is None else dict(found)


def destroy(worker_id: uuid.UUID, using: str) -> None:
    """Have the provider unmake it, whatever it is, and note that; unless something was made
    meanwhile, by a call for which nobody waits any more: CLEANUP finds that."""
    row = Worker.objects.using(using).filter(pk=worker_id).first()
    if row is None:
        return
    handle = row.handle if isinstance(row.handle, Mapping) else {}
    infrastructure = handle.get("infrastructure")
    implementation(worker_id, using).destroy(
        row.provider_resource_id, infrastructure if isinstance(infrastructure, Mapping) else {}
    )
    known = None if infrastructure is None else json.dumps(infrastructure)
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE workers SET handle = CASE jsonb_typeof(handle) WHEN 'object' THEN handle "
            "ELSE '{}' END || '{\"destroyed\": true}', updated_at = clock_timestamp() "
            "WHERE id = %s AND handle -> 'infrastructure' IS NOT DISTINCT FROM %s::jsonb",
            [worker_id, known],
        )


def destroy_made(context: StepContext) -> None:
    """Destroy the worker that this saga makes."""
    destroy(worker_of(context.saga_id), context.using)


def awaited(context: StepContext, worker_id: uuid.UUID, handle: Handle) -> dict[str, Any]:
    """It has registered and is READY. Raises Later until then, and StepFailed once it is known that
    it never will be."""
    row = Worker.objects.using(context.using).filter(pk=worker_id).first()
    if row is None or row.state in WORKER_FINAL:
        raise refused(f"Worker {worker_id} has ended before it was ready.")
    if row.state in {WorkerState.READY, WorkerState.BUSY}:
        note(worker_id, {"infrastructure": dict(handle)}, context.using)
        return {"worker_id": str(worker_id)}
    provider = implementation(worker_id, context.using)
    if provider.ping(row.provider_resource_id, handle) is Ping.GONE:
        told = getattr(provider, "output", lambda _key: "")(row.provider_resource_id)
        raise refused(f"Worker {worker_id} ended before it was ready. {told}".strip())
    raise Later(0.3)


def end_worker(worker_id: uuid.UUID, reason: str, context: StepContext) -> bool:
    """End it in the register, and put its jobs back; returns whether it had not ended yet."""
    with suppress(workers.WorkerNotFound, workers.WorkerStateConflict):
        workers.terminate(worker_id, reason=reason, actor=actor_of(context), using=context.using)
        return True
    return False


def ping(worker_id: uuid.UUID, using: str) -> Ping:
    """What its provider says of it; UNSURE where there is none that could say."""
    row = Worker.objects.using(using).filter(pk=worker_id).first()
    if row is None:
        return Ping.GONE
    handle = row.handle if isinstance(row.handle, Mapping) else {}
    infrastructure = handle.get("infrastructure")
    if not isinstance(infrastructure, Mapping):
        # Nobody's but its own: somebody started it by hand.
        return Ping.UNSURE
    try:
        return implementation(worker_id, using).ping(row.provider_resource_id, infrastructure)
    except Exception:  # noqa: BLE001  (a provider that cannot be asked says nothing)
        return Ping.UNSURE


def note(
    worker_id: uuid.UUID, facts: Mapping[str, Any], using: str, *, instead_of: str = ""
) -> None:
    """Keep facts about a worker with it, and the one of this name no more."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE workers SET handle = CASE jsonb_typeof(handle) WHEN 'object' THEN handle "
            "ELSE '{}' END - %s::text || %s::jsonb, updated_at = clock_timestamp() WHERE id = %s",
            [instead_of, json.dumps(dict(facts)), worker_id],
        )


def implementation(worker_id: uuid.UUID, using: str) -> InfrastructureProvider:
    """What acts on the infrastructure of this worker. Raises ProviderUnknown."""
    row = Worker.objects.using(using).select_related(None).get(pk=worker_id)
    return provider_of(row.provider_type, _config(row.provider_id, using))


def _made(worker_id: uuid.UUID, handle: dict[str, Any], using: str) -> dict[str, Any]:
    """What is known of it is with the worker before it can have a job. It may have been destroyed
    before, if this took so long that nobody waits for it: it is there again then."""
    note(worker_id, {"infrastructure": handle}, using, instead_of="destroyed")
    return {"handle": handle}


def _type(provider_id: uuid.UUID, using: str) -> str:
    rows = Provider.objects.using(using).filter(pk=provider_id)
    found = rows.values_list("provider_type", flat=True).first()
    if found is None:
        raise providers.ProviderNotFound(provider_id)
    return found


def _config(provider_id: uuid.UUID, using: str) -> Mapping[str, Any]:
    config = (
        Provider.objects.using(using)
        .filter(pk=provider_id)
        .values_list("config", flat=True)
        .first()
    )
    return config if isinstance(config, Mapping) else {}


def _queues(config: Mapping[str, Any]) -> list[str]:
    found = config.get("queues") or []
    if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
        raise refused(f"config['queues'] of the provider is {found!r:.80}; it is a list of names.")
    return found


def _concurrency(config: Mapping[str, Any]) -> int:
    found = config.get("concurrency", 1)
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= MOST_CONCURRENCY:
        raise refused(
            f"config['concurrency'] of the provider is {found!r:.80}; it is 1 to "
            f"{MOST_CONCURRENCY}."
        )
    return found
