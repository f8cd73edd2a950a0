"""How a worker process that somebody else has made enters the register: by its bootstrap token."""

from __future__ import annotations

import os
import uuid
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from django.db import connections

from jobs.services import workers

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
