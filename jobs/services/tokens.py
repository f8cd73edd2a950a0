"""Bootstrap tokens: each lets one worker register, once, for a short time.

What is handed out is ``id.secret``. Only the hash of the secret is stored, so a copy of the
database lets nobody in; the secret has 256 bits of chance, so a fast hash is as good as a slow one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.values import check_id, identifier, named, shown
from jobs.services import audit

SHORTEST_TTL, LONGEST_TTL = timedelta(seconds=10), timedelta(hours=24)
DEFAULT_TTL = timedelta(seconds=300)
#: The first number of the lock under which a worker's tokens are issued.
ISSUE = 0x6A6F6205


class TokenRefusal(StrEnum):
    """Why a token lets nobody in, as the audit has it."""

    UNKNOWN = "unknown"
    WRONG_SECRET = "wrong secret"  # noqa: S105  (the name of an outcome)
    WRONG_WORKER = "wrong worker"
    USED = "used"
    EXPIRED = "expired"


class TokenRefused(Exception):  # noqa: N818  (it reads as the fact it states)
    """The token lets this worker not in. Nothing was changed but the audit. One class for each
    reason; no text has a part of the token in it."""

    refusal: TokenRefusal
    words: str

    def __init__(self, worker_id: uuid.UUID, public_id: uuid.UUID | None) -> None:
        self.worker_id = worker_id
        self.public_id = public_id
        super().__init__(f"Worker {named(worker_id)} cannot register: {self.words}")


class TokenUnknown(TokenRefused):
    """There is no such token; it may have been purged, or be no token at all."""

    refusal = TokenRefusal.UNKNOWN
    words = "there is no such token. Issue one, and give it whole (id.secret)."


class TokenSecretWrong(TokenRefused):
    """There is a token of this id, and its secret is another one."""

    refusal = TokenRefusal.WRONG_SECRET
    words = "the secret is not the token's. Give it whole (id.secret), as it was issued."


class TokenOfAnotherWorker(TokenRefused):
    """The token was issued for another worker."""

    refusal = TokenRefusal.WRONG_WORKER
    words = "the token was issued for another worker. Issue one for this worker."


class TokenUsed(TokenRefused):
    """A worker has registered with it already."""

    refusal = TokenRefusal.USED
    words = "the token has been used, and is good for one registration. Issue another one."


class TokenExpired(TokenRefused):
    """It was not used in time, or another one was issued after it."""

    refusal = TokenRefusal.EXPIRED
    words = "the token has expired, or a newer one took its place. Issue another one."


def issue_token(
    worker_id: uuid.UUID,
    *,
    actor: str,
    ttl: timedelta = DEFAULT_TTL,
    using: str = DEFAULT_DB_ALIAS,
) -> str:
    """Return a token, ``id.secret``, with which this worker may register within ``ttl``; the worker
    need not exist. A token issued for it before expires at once: one is live at a time.

    It is the only time that the secret is seen: hand it over, and log it nowhere. Joins the
    caller's transaction. Raises ValueError for a ttl that is out of its bounds, and for what is no
    worker's id.
    """
    if worker_id is None:
        raise ValueError("worker_id is None; it is a UUID.")
    check_id("worker_id", worker_id)
    given: object = ttl
    if not isinstance(given, timedelta) or not SHORTEST_TTL <= given <= LONGEST_TTL:
        raise ValueError(
            f"ttl is {shown(ttl)}; give a timedelta of {SHORTEST_TTL.total_seconds():.0f} seconds "
            f"to {LONGEST_TTL.total_seconds() / 3600:.0f} hours."
        )
    public_id, secret = uuid.uuid4(), secrets.token_urlsafe(32)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, hashtext(%s::text))", [ISSUE, str(worker_id)]
        )
        cursor.execute(
            "UPDATE worker_bootstrap_tokens SET expires_at = clock_timestamp() "
            "WHERE worker_id = %s AND consumed_at IS NULL AND expires_at > clock_timestamp()",
            [worker_id],
        )
        replaced = cursor.rowcount
        cursor.execute(
            "INSERT INTO worker_bootstrap_tokens (token, worker_id, expires_at, created_at, "
            "secret_hash) VALUES (%s, %s, clock_timestamp() + %s * interval '1 second', "
            "clock_timestamp(), %s)",
            [public_id, worker_id, ttl.total_seconds(), _hash(secret)],
        )
        audit.record(
            "BootstrapTokenIssued",
            {
                "worker_id": str(worker_id),
                "public_id": str(public_id),
                "ttl_seconds": ttl.total_seconds(),
                "replaced": replaced,
            },
            actor=actor,
            using=using,
        )
    return f"{public_id}.{secret}"


def spend(token: str, worker_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> uuid.UUID:
    """Use the token up; returns its public id. Joins the caller's transaction, and comes back with
    it: roll back, and the token is as good as before.

    Raises one of the subclasses of TokenRefused. Who does not know the secret learns no more than
    whether there is such an id.
    """
    public_id, secret = _parts(token)
    if public_id is None:
        raise TokenUnknown(worker_id, None)
    with connections[using].cursor() as cursor:
        found = _find(cursor, public_id)
        if found is None:
            raise TokenUnknown(worker_id, public_id)
        if not hmac.compare_digest(_hash(secret), found["secret_hash"] or ""):
            raise TokenSecretWrong(worker_id, public_id)
        if found["worker_id"] != identifier(worker_id):
            raise TokenOfAnotherWorker(worker_id, public_id)
        cursor.execute(
            "UPDATE worker_bootstrap_tokens SET consumed_at = clock_timestamp() WHERE token = %s "
            "AND worker_id = %s AND consumed_at IS NULL AND expires_at > clock_timestamp()",
            [public_id, worker_id],
        )
        if cursor.rowcount:
            return public_id
        found = _find(cursor, public_id)
    if found is None:
        raise TokenUnknown(worker_id, public_id)
    raise (TokenUsed if found["consumed_at"] else TokenExpired)(worker_id, public_id)


def _find(cursor: Any, public_id: uuid.UUID) -> Mapping[str, Any] | None:
    columns = ("secret_hash", "worker_id", "consumed_at")
    cursor.execute(
        "SELECT secret_hash, worker_id, consumed_at FROM worker_bootstrap_tokens WHERE token = %s",
        [public_id],
    )
    row = cursor.fetchone()
    return None if row is None else dict(zip(columns, row, strict=True))


def _parts(token: object) -> tuple[uuid.UUID | None, str]:
    if not isinstance(token, str):
        return None, ""
    public, _, secret = token[:200].partition(".")
    try:
        return uuid.UUID(public), secret
    except ValueError:
        return None, secret


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
