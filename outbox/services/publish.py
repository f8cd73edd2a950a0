"""Store events in the caller's transaction: they commit or vanish with the caller's own rows.

    with transaction.atomic():
        order = Order.objects.create(...)
        publish("OrderPlaced", "ORDER", order.pk, {"total": 1200})

Events of one aggregate are delivered in the order in which their transactions commit. Two
transactions that publish for the same aggregate therefore wait for each other, as they would for a
row; see Note [Turns].
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction
from django.db.transaction import TransactionManagementError

from hodei.compat import uuid7
from hodei.sql import statement
from hodei.values import shown
from outbox.conf import OutboxSettings, outbox_settings
from outbox.events import (
    LONGEST_AGGREGATE_TYPE,
    LONGEST_EVENT_TYPE,
    LONGEST_IDEMPOTENCY_KEY,
    EventInvalid,
    NewEvent,
    check_name,
    check_version,
    json_text,
)
from outbox.keys import Aggregate, aggregate_of
from outbox.wakeup import WAKE

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# Note [Turns]
# An event's number is taken when its row is stored, and its row is seen when its transaction
# commits. For both orders to be one, whoever publishes for an aggregate holds an advisory lock of
# it until the end of the transaction. Each such lock has a place in the server's lock table, which
# is finite; so who publishes for more than MANY aggregates at once takes whole lanes, which the
# others share.
#
# Who stores a key that another has stored and not committed waits for that one, too. Many events
# are therefore stored in the order of their keys, so that two who publish the same keys, for
# whatever aggregates, wait for each other and not crosswise. Where that is not their own order they
# take their numbers before: COPY would number them as they come.

#: The first number of the lock of a lane; the lock of an aggregate is one number, of 64 bits.
TURN = 0x6F757401
#: Above so many aggregates their lanes are locked.
MANY = 1_000
#: Columns that most events have nothing for.
_OPTIONAL = ("metadata", "idempotency_key", "aggregate_key")


#: In what the server says, in whatever language.
_REFUSED_KEY = re.compile(r"\(idempotency_key\)=\((.*)\)", re.DOTALL)


class DuplicateEvent(Exception):  # noqa: N818  (it reads as the fact it states)
    """An event with this idempotency key was published before, and this one was not stored.

    The caller's transaction is not broken by it. ``idempotency_keys`` are the keys that were there.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.idempotency_keys = tuple(keys)
        first = ", ".join(map(shown, keys[:5]))
        more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
        super().__init__(
            f"Already published under the idempotency key {first}{more}. Nothing was stored."
        )


class OutsideTransaction(TransactionManagementError):  # noqa: N818
    """``publish`` was called where no transaction is open, so the event could outlive its data."""

    def __init__(self, using: str) -> None:
        super().__init__(
            f"publish() was called outside of a transaction of database {using!r}, so the event "
            "would not commit together with the data it tells of. Open transaction.atomic() around "
            "both, or say autocommit=True where there is no data."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One event for ``publish_many``; the fields are the arguments of ``publish``."""

    event_type: str
    aggregate_type: str
    aggregate_id: uuid.UUID | int | str
    payload: Any
    idempotency_key: str | None = None
    metadata: Mapping[str, Any] | None = None
    version: int = 1


def publish(
    event_type: str,
    aggregate_type: str,
    aggregate_id: uuid.UUID | int | str,
    payload: Any,
    *,
    idempotency_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    version: int = 1,
    using: str = DEFAULT_DB_ALIAS,
    aggregate_locked: bool = False,
    autocommit: bool = False,
) -> uuid.UUID:
    """Store an event and return its id. Joins the caller's transaction on Django's connection.

    ``payload`` is what JSON can hold, at most MAX_PAYLOAD_BYTES of it. ``metadata`` is a dict
    beside it; ``correlation_id``, ``causation_id``, ``traceparent`` and ``tracestate`` become
    attributes of the envelope. ``aggregate_locked`` says that the caller holds the aggregate's row
    (it has changed it, or selected it FOR UPDATE), as all do who publish for the aggregate, so that
    the order needs no other lock.

    Raises EventInvalid, DuplicateEvent, OutsideTransaction (unless ``autocommit``), and
    ImproperlyConfigured; nothing is stored then. A transaction that reads repeatably, and whose key
    was committed after its beginning, has a serialization failure: OperationalError.
    """
    connection = _connection(using, autocommit=autocommit)
    event = _checked(
        Draft(
            event_type=event_type,
            aggregate_type=aggregate_type,
            aggregate_id=aggregate_id,
            payload=payload,
            idempotency_key=idempotency_key,
            metadata=metadata,
            version=version,
        ),
        outbox_settings(),
    )
    parameters: dict[str, Any] = {
        "id": event.id,
        "aggregate_id": event.aggregate.id,
        "aggregate_type": event.aggregate.type,
        "event_type": event.event_type,
        "event_version": event.version,
        "payload": event.payload,
        "metadata": event.metadata,
        "idempotency_key": event.idempotency_key,
        "aggregate_key": event.aggregate.key,
        "destination": event.destination,
        "in_turn": aggregate_locked,
    }
    missing = tuple(column for column in _OPTIONAL if parameters[column] is None)
    with connection.cursor() as cursor:
        cursor.execute(_written_out(missing), parameters)
        (is_stored,) = cursor.fetchone()
    if not is_stored:
        raise DuplicateEvent([event.idempotency_key or ""])
    return event.id


def publish_many(
    drafts: Iterable[Draft],
    *,
    using: str = DEFAULT_DB_ALIAS,
    autocommit: bool = False,
) -> list[uuid.UUID]:
    """Store events in their order, all or none, and return their ids. Joins the caller's
    transaction.

    Raises what ``publish`` does; DuplicateEvent has all keys that were there, or came twice.
    """
    connection = _connection(using, autocommit=autocommit)
    settings = outbox_settings()
    events = [_checked(draft, settings, place) for place, draft in enumerate(drafts)]
    if not events:
        return []
    _refuse_repeated(events)
    try:
        with transaction.atomic(using=using), connection.cursor() as cursor:
            _take_turns(cursor, events)
            with connection.wrap_database_errors:
                _copy(cursor, events)
            lanes = sorted({event.aggregate.lane for event in events})
            cursor.execute(statement("outbox", "wake"), {"lanes": lanes, **WAKE})
    except IntegrityError as error:
        known = _known_keys(connection, events) or _unseen_key(error)
        if not known:
            raise
        raise DuplicateEvent(known) from error
    return [event.id for event in events]


def _connection(using: str, *, autocommit: bool) -> BaseDatabaseWrapper:
    connection = connections[using]
    if not autocommit and not connection.in_atomic_block and connection.get_autocommit():
        raise OutsideTransaction(using)
    return connection


def _checked(draft: Draft, settings: OutboxSettings, place: int | None = None) -> NewEvent:
    try:
        return _event(draft, settings)
    except EventInvalid as error:
        where = "" if place is None else f"Event {place} of this call: "
        raise EventInvalid(f"{where}{error}") from error


def _event(draft: Draft, settings: OutboxSettings) -> NewEvent:
    event_type = check_name("event_type", draft.event_type, LONGEST_EVENT_TYPE)
    kind = check_name("aggregate_type", draft.aggregate_type, LONGEST_AGGREGATE_TYPE)
    if kind not in settings.aggregate_types:
        raise EventInvalid(
            f"aggregate_type is {shown(kind)}; HODEI_OUTBOX['AGGREGATE_TYPES'] has "
            f"{', '.join(sorted(settings.aggregate_types))}. Add it there."
        )
    try:
        aggregate = aggregate_of(kind, draft.aggregate_id)
    except (TypeError, ValueError) as error:
        raise EventInvalid(str(error)) from error
    if aggregate.key is not None:
        check_name("aggregate_id", aggregate.key, len(aggregate.key))
    key = draft.idempotency_key
    if key is not None:
        check_name("idempotency_key", key, LONGEST_IDEMPOTENCY_KEY)
    if draft.metadata is not None and not isinstance(draft.metadata, Mapping):
        raise EventInvalid(f"metadata is {shown(draft.metadata)}; it is a dict.")
    longest = settings.max_payload_bytes
    return NewEvent(
        id=uuid7(),
        event_type=event_type,
        version=check_version(draft.version),
        aggregate=aggregate,
        payload=json_text("payload", draft.payload, longest),
        metadata=None
        if draft.metadata is None
        else json_text("metadata", dict(draft.metadata), longest),
        idempotency_key=key,
        destination=settings.destination_of(event_type),
    )


def _refuse_repeated(events: Sequence[NewEvent]) -> None:
    seen: set[str] = set()
    repeated = []
    for event in events:
        if event.idempotency_key is not None:
            if event.idempotency_key in seen:
                repeated.append(event.idempotency_key)
            seen.add(event.idempotency_key)
    if repeated:
        raise DuplicateEvent(list(dict.fromkeys(repeated)))


def _take_turns(cursor: Any, events: Sequence[NewEvent]) -> None:
    turns = {"turn": TURN, "lanes": [event.aggregate.lane for event in events]}
    names = {turn_of(event.aggregate) for event in events}
    if len(names) > MANY:
        cursor.execute(statement("outbox", "take_lanes"), turns)
        return
    cursor.execute(statement("outbox", "take_lanes_shared"), turns)
    cursor.execute(statement("outbox", "take_aggregates"), {"names": list(names)})


def _copy(cursor: Any, events: Sequence[NewEvent]) -> None:
    keys = [event.idempotency_key for event in events if event.idempotency_key is not None]
    if keys == sorted(keys):
        _copy_rows(cursor, "copy_events", map(_row, events))
        return
    cursor.execute(statement("outbox", "take_numbers"), {"events": len(events)})
    numbered = zip(events, cursor.fetchall(), strict=True)
    in_order_of_keys = sorted(numbered, key=lambda one: one[0].idempotency_key or "")
    _copy_rows(
        cursor, "copy_numbered_events", (_row(event) + number for event, number in in_order_of_keys)
    )


def _copy_rows(cursor: Any, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with cursor.copy(statement("outbox", name)) as copy:
        for row in rows:
            copy.write_row(row)


def _row(event: NewEvent) -> tuple[Any, ...]:
    return (
        event.id,
        event.aggregate.id,
        event.aggregate.type,
        event.event_type,
        event.version,
        event.payload,
        event.metadata,
        event.idempotency_key,
        event.aggregate.key,
        event.destination,
    )


def _known_keys(connection: BaseDatabaseWrapper, events: Sequence[NewEvent]) -> list[str]:
    """The keys of these events that are stored already, in the order of the events."""
    keys = [event.idempotency_key for event in events if event.idempotency_key is not None]
    with connection.cursor() as cursor:
        cursor.execute(statement("outbox", "known_keys"), {"keys": keys})
        known = {row[0] for row in cursor.fetchall()}
    return [key for key in keys if key in known]


def _unseen_key(error: IntegrityError) -> list[str]:
    """Pure: the key that was there already, though a transaction that reads repeatably does not
    see it."""
    told = getattr(error.__cause__, "diag", None)
    found = _REFUSED_KEY.search((told and told.message_detail) or "")
    return [found[1]] if found else []


def turn_of(aggregate: Aggregate) -> str:
    """Pure: the text whose hash is the lock of an aggregate."""
    return f"{aggregate.type}:{aggregate.id}"


@cache
def _written_out(missing: tuple[str, ...]) -> str:
    """The statement with NULL for what is missing: each parameter costs the driver some time."""
    text = statement("outbox", "publish")
    for column in missing:
        text = text.replace(f"%({column})s", "NULL")
    return text
