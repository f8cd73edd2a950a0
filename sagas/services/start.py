"""Start sagas, in the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS


def start(
    kind: str,
    input: Mapping[str, Any] | None = None,  # noqa: A002  (it is what the step's context calls it)
    *,
    key: str | None = None,
    correlation_id: str | None = None,
    actor: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> uuid.UUID:
    """Store a saga, which a runner drives as soon as the caller's transaction commits; returns its
    id. Joins the caller's transaction.

    ``input`` is a dict of what JSON can hold. With ``key``, at most one saga of the kind and key is
    live: while there is one, nothing is stored, and its id is returned. Raises SagaNotRegistered
    and SagaInvalid.
    """
    raise NotImplementedError
