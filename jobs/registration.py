"""What a worker process says of itself: who it was made to be, by its bootstrap token, and what it
is now."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import connections

from hodei.sessions import owner_name
from hodei.sql import statement
from jobs import telling
from jobs.events import ProviderEvent, WorkerEvent
from jobs.services import audit, workers

if TYPE_CHECKING:
    import psycopg

#: Variables by which whoever starts a worker process tells it who it is. Never arguments: those are
#: there for everybody on the machine to read.
WORKER_ID, WORKER_TOKEN = "HODEI_WORKER_ID", "HODEI_WORKER_TOKEN"


class IdentityInvalid(ValueError):  # noqa: N818  (it reads as the fact it states)
    """The variables name no worker. The text says which, and what they should have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a worker was made to be, and what lets it in."""

    worker_id: uuid.UUID
    token: str = field(repr=False)


def identity_of(environ: MutableMapping[str, str] = os.environ) -> Identity | None:
    """Read the variables, and remove the token, which nothing else needs; None where neither is
    set. Raises IdentityInvalid."""
    worker, token = environ.get(WORKER_ID, ""), environ.pop(WORKER_TOKEN, "")
    if not worker and not token:
        return None
    if not worker or not token:
        missing, given = (WORKER_TOKEN, WORKER_ID) if worker else (WORKER_ID, WORKER_TOKEN)
        raise IdentityInvalid(
            f"{given} is set and {missing} is not. Set both, or neither for a worker of this "
            "project's own."
        )
    try:
        return Identity(worker_id=uuid.UUID(worker), token=token)
    except ValueError as error:
        raise IdentityInvalid(f"{WORKER_ID} is {worker!r:.80}; it is the worker's uuid.") from error


def enter(using: str, identity: Identity) -> None:
    """Register by the token, and be READY. Raises what ``workers.register`` does, and Django's
    errors of the database."""
    try:
        workers.register(identity.worker_id, token=identity.token, using=using)
        workers.heartbeat(identity.worker_id, using=using)
    finally:
        connections[using].close()


def enter_local(
    session: psycopg.Connection[Any], worker_id: uuid.UUID, spec: Mapping[str, Any]
) -> None:
    """Register as one of this project's own, and be READY. Joins the session's transaction."""
    asked = {"worker": worker_id, "resource": owner_name(), "spec": json.dumps(dict(spec))}
    row = session.execute(statement("jobs", "register_local"), asked).fetchone()
    if row is None:
        # Another has just made the provider: a new statement sees it.
        row = session.execute(statement("jobs", "register_local"), asked).fetchone()
    if row is not None and row[0] is not None:
        _tell(session, worker_id, ProviderEvent.SAVED, workers.local_provider(row[0]), row[0])
    tell(session, worker_id, WorkerEvent.REGISTERED)


def tell(
    session: psycopg.Connection[Any], worker_id: uuid.UUID, event: WorkerEvent, **facts: str
) -> None:
    """Write down what happens to this process, where somebody wants to know. Joins the session's
    transaction, which makes the change."""
    payload = {"worker_id": str(worker_id), "name": owner_name(), **facts}
    _tell(session, worker_id, event, payload, worker_id)


def _tell(
    session: psycopg.Connection[Any],
    worker_id: uuid.UUID,
    event: str,
    payload: Mapping[str, Any],
    about: uuid.UUID,
) -> None:
    if telling.is_told(event):
        given = audit.Record(payload=payload, about=about)
        audit.write(session, event, [given], actor=f"worker {worker_id}")
