"""Start sagas, in the caller's transaction."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.compat import uuid7
from hodei.sql import statement
from hodei.values import shown, unstorable
from jobs.retry import result_text
from sagas import registry
from sagas.definition import Saga, steps_hash
from sagas.exceptions import SagaInvalid
from sagas.problems import problems
from sagas.services.locks import acquire, checked

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

LONGEST_KEY = 255
#: Sagas of one statement.
CHUNK = 500


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
    common = _common(kind, correlation_id, actor, trace_parent)
    one = (_input(input), _text("key", key))
    names = _resources(locks)
    if not locks:
        return _store(common, [one], using)[0][0]
    with transaction.atomic(using=using):
        ((saga, is_new),) = _store(common, [one], using)
        # In an order of their own: whoever waits for another's has none that it could wait for.
        for resource_type, resource_id in sorted(names) if is_new else ():
            acquire(saga, resource_type, resource_id, using=using)
    return saga


def start_many(
    kind: str,
    inputs: Iterable[Mapping[str, Any] | None],
    *,
    keys: Iterable[str | None] | None = None,
    correlation_id: str | None = None,
    actor: str | None = None,
    trace_parent: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> list[uuid.UUID]:
    """Store a saga for each input, all or none, some hundreds in one statement; returns their ids
    in their order. ``keys`` are as many as the inputs. Joins the caller's transaction, or has one
    of its own.

    The rest is as with ``start``: with a key that a live saga has, it is that one's id.
    """
    common = _common(kind, correlation_id, actor, trace_parent)
    given = zip(inputs, keys, strict=True) if keys is not None else ((one, None) for one in inputs)
    ids: list[uuid.UUID] = []
    with transaction.atomic(using=using):
        while chunk := list(islice(given, CHUNK)):
            rows = []
            for place, (one, key) in enumerate(chunk, start=len(ids)):
                try:
                    rows.append((_input(one), _text("key", key)))
                except SagaInvalid as error:
                    raise SagaInvalid(f"Saga {place} of this call: {error}") from error
            ids += [saga for saga, _ in _store(common, rows, using)]
    return ids


def _common(kind: str, correlation_id: Any, actor: Any, trace_parent: Any) -> dict[str, Any]:
    """What all sagas of a call have in common, as the statement wants it."""
    if not isinstance(kind, str):
        raise registry.SagaNotRegistered(kind)
    definition = registry.definition(kind)
    return {
        **_shape(definition),  # type: ignore[arg-type]
        "correlation_id": _text("correlation_id", correlation_id),
        "actor": _text("actor", actor),
        "trace_parent": _trace_parent(trace_parent),
        "payload": json.dumps({"version": definition.version, "actor": actor}),
    }


@lru_cache(maxsize=256)
def _shape(definition: type[Saga]) -> Mapping[str, Any]:
    """What follows from the definition. Raises SagaInvalid where that is wrong."""
    found = problems(definition)
    if found:
        raise SagaInvalid(
            f"The definition of {definition.kind} is wrong: {found[0].message} {found[0].hint} "
            "manage.py check tells all of it."
        )
    return {
        "kind": definition.kind,
        "version": definition.version,
        "hash": steps_hash(definition),
        "deadline": definition.deadline and definition.deadline.total_seconds(),
        "names": _texts(step.name for step in definition.steps),
        "size": len(definition.steps),
        "message": f"{definition.kind} begins",
    }


def _store(
    common: Mapping[str, Any], rows: Sequence[tuple[str, str | None]], using: str
) -> list[tuple[uuid.UUID, bool]]:
    """Of each (input, key) the id of its saga, and whether that is a new one."""
    ids = [uuid7() for _ in rows]
    # Keys are taken in an order of their own, so that nobody waits crosswise for another's.
    order = sorted(range(len(rows)), key=lambda place: (rows[place][1] or "", place))
    parameters = {
        **common,
        "ids": _uuids(ids[place] for place in order),
        "inputs": _texts(rows[place][0] for place in order),
        "keys": _texts(rows[place][1] for place in order),
        "step_ids": _uuids(uuid7() for _ in range(len(rows) * common["size"])),
    }
    with connections[using].cursor() as cursor:
        cursor.execute(statement("sagas", "start"), parameters)
        stored = zip(order, cursor.fetchall(), strict=True)
        new = {place for place, (is_new,) in stored if is_new}
        return [
            (saga, True) if place in new else _known(cursor, common, row, using)
            for place, (saga, row) in enumerate(zip(ids, rows, strict=True))
        ]


def _uuids(ids: Iterable[uuid.UUID]) -> str:
    """An array as text: the driver's way from a list takes several times as long."""
    return f"{{{','.join(map(str, ids))}}}"


def _texts(texts: Iterable[str | None]) -> str:
    """As above."""
    quoted = (
        "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for text in texts
    )
    return f"{{{','.join(quoted)}}}"


def _known(
    cursor: CursorWrapper, common: Mapping[str, Any], row: tuple[str, str | None], using: str
) -> tuple[uuid.UUID, bool]:
    """The live saga that has the key: a new statement sees it, unless it has just ended."""
    cursor.execute(statement("sagas", "live_by_key"), {"kind": common["kind"], "key": row[1]})
    found = cursor.fetchone()
    return (found[0], False) if found is not None else _store(common, [row], using)[0]


def _input(given: Any) -> str:
    if given is None:
        return "{}"
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise SagaInvalid(f"input is {shown(given)}; it is a dict whose keys are texts.")
    if "_repaired" in given:
        raise SagaInvalid("input has the key '_repaired', which repairs of old rows use.")
    try:
        return result_text(dict(given)) or "{}"
    except ValueError as error:
        raise SagaInvalid(str(error).replace("result", "input")) from error


def _text(name: str, given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or not 1 <= len(given) <= LONGEST_KEY:
        raise SagaInvalid(
            f"{name} is {shown(given)}; it is a text of 1 to {LONGEST_KEY} characters, or None."
        )
    wrong = unstorable(given)
    if wrong is not None:
        raise SagaInvalid(f"{name} {wrong}.")
    return given


def _resources(locks: object) -> list[tuple[str, str]]:
    pairs = isinstance(locks, tuple | list) and all(
        isinstance(lock, tuple | list) and len(lock) == 2 for lock in locks
    )
    if not pairs:
        raise SagaInvalid(f"locks is {shown(locks)}; it is a list of pairs: type and id.")
    return [checked(*lock) for lock in locks]  # type: ignore[attr-defined]


def _trace_parent(given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or not re.fullmatch(
        r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", given
    ):
        raise SagaInvalid(f"trace_parent is {shown(given)}; it is a W3C traceparent of version 00.")
    return given
