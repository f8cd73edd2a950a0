"""For the tests of those who publish: was it published, and what does a relay make of it?

    from outbox.testing import assert_published, run_relay

    def test_an_order_is_announced(db):
        place_order(number=7)
        assert_published("OrderPlaced", aggregate_id=7, payload={"total": 1200})
        (event,) = run_relay()
        receive(event)

Everything runs on Django's connection, inside the transaction of the test.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.values import shown
from outbox.conf import DEFAULT_DESTINATION, outbox_settings
from outbox.events import Event
from outbox.keys import aggregate_of
from outbox.outcomes import DELIVERED, Kind, Outcome
from outbox.publishers import Publisher
from outbox.relay import Relay


def published(
    event_type: str | None = None, *, using: str = DEFAULT_DB_ALIAS
) -> list[dict[str, Any]]:
    """The stored events, oldest first, as dicts of the arguments of ``publish`` and ``id``."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT id, event_type, aggregate_type, coalesce(aggregate_key, aggregate_id::text), "
            "payload::text, metadata::text, idempotency_key, event_version, destination "
            "FROM outbox_events WHERE %s::text IS NULL OR event_type = %s ORDER BY seq",
            [event_type, event_type],
        )
        return [
            {
                "id": row[0],
                "event_type": row[1],
                "aggregate_type": row[2],
                "aggregate_id": row[3],
                "payload": json.loads(row[4]),
                "metadata": None if row[5] is None else json.loads(row[5]),
                "idempotency_key": row[6],
                "version": row[7],
                "destination": row[8],
            }
            for row in cursor.fetchall()
        ]


def assert_published(
    event_type: str,
    *,
    aggregate_type: str | None = None,
    aggregate_id: uuid.UUID | int | str | None = None,
    payload: Mapping[str, Any] | None = None,
    times: int = 1,
    using: str = DEFAULT_DB_ALIAS,
) -> list[dict[str, Any]]:
    """Assert that so many such events are stored, and return them.

    Of ``payload`` only the keys that are given are compared. A failure tells what is stored.
    """
    found = [
        event
        for event in published(event_type, using=using)
        if (aggregate_type is None or event["aggregate_type"] == aggregate_type)
        and (aggregate_id is None or _is_about(event, aggregate_id))
        and _holds(event["payload"], payload or {})
    ]
    if len(found) != times:
        stored = "".join(
            f"\n  {event['event_type']} of {event['aggregate_type']} {event['aggregate_id']}: "
            f"{json.dumps(event['payload'])}"
            for event in published(using=using)
        )
        raise AssertionError(
            f"{len(found)} such {event_type} events are stored and {times} were expected. "
            f"Stored are:{stored or ' none at all'}"
        )
    return found


def run_relay(
    publisher: Publisher | None = None,
    *,
    destination: str = DEFAULT_DESTINATION,
    using: str = DEFAULT_DB_ALIAS,
) -> list[Event]:
    """Deliver what can be delivered now, and return the events that were, in order.

    As the relay does it, with its retries, dead letters and parked aggregates, but in the test's
    own transaction. Without a ``publisher`` everything is taken. Raises ValueError for a
    destination that is not in the settings.
    """
    known = outbox_settings().destinations
    if destination not in known:
        raise ValueError(
            f"destination is {shown(destination)}; HODEI_OUTBOX has {', '.join(known)}."
        )
    recorder = _Recorder(publisher)
    relay = Relay(
        using,
        known[destination],
        recorder,
        stop=threading.Event(),
        once=True,
        rng=Random(0),  # noqa: S311  (the same pauses in every run)
    )
    relay.drain(_OnDjangosConnection(using))
    return recorder.delivered


class _Recorder:
    """Passes on, and remembers what was delivered."""

    def __init__(self, publisher: Publisher | None) -> None:
        self._publisher = publisher
        self.delivered: list[Event] = []

    def open(self) -> None:
        if self._publisher is not None:
            self._publisher.open()

    def send_batch(self, events: Sequence[Event]) -> Sequence[Outcome]:
        if self._publisher is None:
            outcomes: Sequence[Outcome] = [DELIVERED] * len(events)
        else:
            outcomes = self._publisher.send_batch(events)
        self.delivered += [
            event
            for event, outcome in zip(events, outcomes, strict=True)
            if outcome.kind is Kind.DELIVERED
        ]
        return outcomes

    def close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()


class _OnDjangosConnection:
    """What the relay needs of a psycopg connection, on Django's."""

    def __init__(self, using: str) -> None:
        self._using = using

    def execute(self, sql: str, parameters: Any = None) -> Any:
        cursor = connections[self._using].cursor()
        cursor.execute(sql, parameters)
        return cursor

    def transaction(self) -> Any:
        return transaction.atomic(using=self._using)

    @contextmanager
    def cursor(self) -> Iterator[_OnDjangosConnection]:
        yield self

    def stream(
        self,
        sql: str,
        parameters: Any,
        *,
        size: int,
        binary: bool,
    ) -> Iterator[tuple[Any, ...]]:
        cursor = self.execute(sql, parameters)
        cursor.arraysize = size
        while rows := cursor.fetchmany(size):
            yield from rows


def _holds(found: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether a payload has all of these, None among them."""
    if not wanted:
        return True
    return isinstance(found, dict) and all(
        key in found and found[key] == value for key, value in wanted.items()
    )


def _is_about(event: Mapping[str, Any], key: uuid.UUID | int | str) -> bool:
    aggregate = aggregate_of(event["aggregate_type"], key)
    return bool(event["aggregate_id"] == (aggregate.key or str(aggregate.id)))
