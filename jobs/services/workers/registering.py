"""A worker is noted by its provider, and registers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.sql import statement
from hodei.values import identifier, shown
from jobs.events import ProviderEvent, WorkerEvent
from jobs.models import Worker
from jobs.services import audit, providers, tokens
from jobs.services.workers.recording import record
from jobs.services.workers.refusals import WorkerInvalid, WorkerNotFound, conflict
from jobs.spec import LARGEST_SPEC, JobInvalid, json_text, storable
from jobs.states import WorkerState

REGISTERED = WorkerEvent.REGISTERED
#: Characters of a provider's own name for a worker.
LONGEST_RESOURCE = 1_000


def create(
    worker_id: uuid.UUID,
    *,
    provider_id: uuid.UUID,
    resource_id: str,
    actor: str,
    spec: Mapping[str, Any] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Note a worker that its provider is about to make: CREATING. Joins the caller's transaction.

    The provider is locked until it ends, so no two make more workers than it may have. Raises
    ProviderNotFound, ProviderNotActive, ProviderFull, WorkerInvalid, and WorkerStateConflict for a
    known id.
    """
    given = _checked(worker_id, resource_id, spec)
    with transaction.atomic(using=using):
        provider_type = providers.lock_room(provider_id, using=using)
        _insert(
            worker_id,
            WorkerState.CREATING,
            provider_id=provider_id,
            provider_type=provider_type,
            given=given,
            using=using,
        )
        record(
            WorkerEvent.CREATED, worker_id, actor=actor, using=using, provider_id=str(provider_id)
        )


def register(
    worker_id: uuid.UUID,
    *,
    token: str,
    provider_id: uuid.UUID | None = None,
    resource_id: str = "",
    spec: Mapping[str, Any] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Let a worker in by its bootstrap token: CONNECTING, and READY with its first heartbeat.

    A worker that ``create`` has noted needs no more than the token; another one names its provider,
    which must have room. One transaction: where it is refused the token stays as good as it was. A
    refused token is in the audit for good, unless the caller's own transaction is rolled back.
    Raises a subclass of TokenRefused, WorkerStateConflict, and what ``create`` raises.
    """
    given = _checked(worker_id, resource_id, spec)
    try:
        with transaction.atomic(using=using):
            public_id = tokens.spend(token, worker_id, using=using)
            _enter(worker_id, provider_id, given, using)
            record(REGISTERED, worker_id, actor=f"worker {worker_id}", using=using,
                    public_id=str(public_id))  # fmt: skip
    except tokens.TokenRefused as error:
        record(
            "BootstrapTokenRefused",
            worker_id,
            actor=f"worker {worker_id}",
            using=using,
            public_id=str(error.public_id) if error.public_id else None,
            outcome=error.refusal.value,
        )
        raise


def register_local(
    *,
    resource_id: str,
    worker_id: uuid.UUID | None = None,
    spec: Mapping[str, Any] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> uuid.UUID:
    """Let a process of this project in, without a token: it has the database's password.

    It is READY at once, under the provider ``local``, which is made with the first of them. Returns
    its id. Joins the caller's transaction. Raises WorkerInvalid, and WorkerStateConflict for an id
    that is known.
    """
    found = uuid.uuid4() if worker_id is None else worker_id
    given = _checked(found, resource_id, spec)
    asked: dict[str, Any] = {"worker": found, "resource": given.resource_id, "spec": given.spec}
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(statement("jobs", "register_local"), asked)
        row = cursor.fetchone()
        if row is None:
            # Another has just made the provider, or this worker: a new statement sees which.
            cursor.execute(statement("jobs", "register_local"), asked)
            row = cursor.fetchone()
        if row is None:
            raise conflict(found, "register", "a worker registers once", using)
        made = row[0]
        if made is not None:
            audit.record(ProviderEvent.SAVED, local_provider(made), actor=f"worker {found}",
                         about=made, using=using)  # fmt: skip
        record(REGISTERED, found, actor=f"worker {found}", using=using, provider="local")
    return found


def local_provider(provider_id: uuid.UUID) -> dict[str, Any]:
    """What is said of the provider ``local`` when it is made."""
    return {"provider_id": str(provider_id), "name": "local", "is_new": True}


class _Given(NamedTuple):
    resource_id: str
    #: As JSON.
    spec: str


def _checked(worker_id: object, resource_id: object, spec: object) -> _Given:
    """What a worker says of itself. Raises WorkerInvalid."""
    if identifier(worker_id) is None:
        raise WorkerInvalid(f"worker_id is {shown(worker_id)}; it is a UUID.")
    if not isinstance(resource_id, str) or len(resource_id) > LONGEST_RESOURCE:
        raise WorkerInvalid(
            f"resource_id is {shown(resource_id)}; it is a text of at most {LONGEST_RESOURCE} "
            "characters."
        )
    try:
        storable("resource_id", resource_id)
        return _Given(resource_id, json_text("spec", {} if spec is None else spec, LARGEST_SPEC))
    except JobInvalid as error:
        raise WorkerInvalid(str(error)) from error


def _enter(
    worker_id: uuid.UUID,
    provider_id: uuid.UUID | None,
    given: _Given,
    using: str,
) -> None:
    """Into CONNECTING, from CREATING or from nowhere. Registering is a sign of life."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE workers SET state = 'CONNECTING', last_heartbeat = clock_timestamp(), "
            "updated_at = clock_timestamp() WHERE id = %s AND state = 'CREATING'",
            [worker_id],
        )
        if cursor.rowcount:
            return
    if Worker.objects.using(using).filter(pk=worker_id).exists():
        raise conflict(worker_id, "register", "a worker registers once", using)
    if provider_id is None:
        raise WorkerNotFound(worker_id)
    provider_type = providers.lock_room(provider_id, using=using)
    _insert(
        worker_id,
        WorkerState.CONNECTING,
        provider_id=provider_id,
        provider_type=provider_type,
        given=given,
        using=using,
    )


def _insert(
    worker_id: uuid.UUID,
    state: WorkerState,
    *,
    provider_id: uuid.UUID,
    provider_type: str,
    given: _Given,
    using: str,
) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "INSERT INTO workers (id, provider_id, provider_type, provider_resource_id, state, "
            "spec, handle, created_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s::jsonb, '{}', "
            "clock_timestamp(), clock_timestamp()) ON CONFLICT (id) DO NOTHING",
            [
                *(worker_id, provider_id, provider_type, given.resource_id, state.value),
                given.spec,
            ],
        )
        if not cursor.rowcount:
            raise conflict(worker_id, "be made again", "give a new id", using)
