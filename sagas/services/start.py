"""Start sagas, in the caller's transaction."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.compat import uuid7
from hodei.sql import statement
from jobs.retry import result_text
from sagas import registry
from sagas.definition import steps_hash
from sagas.exceptions import SagaInvalid
from sagas.problems import problems
from sagas.services.locks import acquire
from sagas.wakeup import WAKE

LONGEST_KEY = 255


def start(
    kind: str,
    input: Mapping[str, Any] | None = None,  # noqa: A002  (it is what the step's context calls it)
    *,
    key: str | None = None,
    correlation_id: str | None = None,
    actor: str | None = None,
    trace_parent: str | None = None,
    locks: Sequence[tuple[str, object]] = (),
    using: str = DEFAULT_DB_ALIAS,
) -> uuid.UUID:
    """Store a saga, which a runner drives as soon as the caller's transaction commits; returns its
    id. Joins the caller's transaction.

    ``input`` is a dict of what JSON can hold; ``trace_parent`` a W3C traceparent of version 00;
    ``locks`` are resources (type, id) that no other live saga may hold. With ``key``, at most one
    saga of the kind and key is live: while there is one, nothing is stored, and its id is returned.

    Raises SagaNotRegistered, SagaInvalid and ResourceLocked; nothing is stored then.
    """
    if not isinstance(kind, str):
        raise registry.SagaNotRegistered(kind)
    definition = registry.definition(kind)
    found = problems(definition)
    if found:
        raise SagaInvalid(
            f"The definition of {kind} is wrong: {found[0].message} {found[0].hint} "
            "manage.py check tells all of it."
        )
    parameters = {
        "id": uuid7(),
        "kind": kind,
        "version": definition.version,
        "hash": steps_hash(definition),
        "input": _input(input),
        "key": _text("key", key),
        "correlation_id": _text("correlation_id", correlation_id),
        "actor": _text("actor", actor),
        "deadline": definition.deadline and definition.deadline.total_seconds(),
        "trace_parent": _trace_parent(trace_parent),
        "step_ids": [uuid7() for _ in definition.steps],
        "names": [step.name for step in definition.steps],
        "message": f"{kind} begins",
        "payload": json.dumps({"version": definition.version, "actor": actor}),
        **WAKE,
    }
    if not locks:
        return _store(parameters, using)[0]
    with transaction.atomic(using=using):
        saga, is_new = _store(parameters, using)
        for resource_type, resource_id in locks if is_new else ():
            acquire(saga, resource_type, resource_id, using=using)
    return saga


def _store(parameters: dict[str, Any], using: str) -> tuple[uuid.UUID, bool]:
    """The id, and whether it is that of a new saga."""
    with connections[using].cursor() as cursor:
        while True:
            cursor.execute(statement("sagas", "start"), parameters)
            row = cursor.fetchone()
            if row is not None:
                return row[0], True
            # Another one has the key: this statement sees it, unless it has just ended.
            cursor.execute(statement("sagas", "live_by_key"), parameters)
            row = cursor.fetchone()
            if row is not None:
                return row[0], False


def _input(given: Any) -> str:
    if given is None:
        return "{}"
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise SagaInvalid(f"input is {given!r:.100}; it is a dict whose keys are texts.")
    if "_repaired" in given:
        raise SagaInvalid("input has the key '_repaired', which repairs of old rows use.")
    try:
        return result_text(dict(given)) or "{}"
    except ValueError as error:
        raise SagaInvalid(str(error).replace("result", "input")) from error


def _text(name: str, given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or not 1 <= len(given) <= LONGEST_KEY or "\0" in given:
        raise SagaInvalid(
            f"{name} is {given!r:.100}; it is a text of 1 to {LONGEST_KEY} characters, or None."
        )
    try:
        given.encode()
    except UnicodeEncodeError:
        raise SagaInvalid(f"{name} holds half a surrogate pair.") from None
    return given


def _trace_parent(given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or not re.fullmatch(
        r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", given
    ):
        raise SagaInvalid(f"trace_parent is {given!r:.100}; it is a W3C traceparent of version 00.")
    return given
