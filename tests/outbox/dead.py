"""Dead letters for tests, made as they come about: by a relay whose publisher refuses."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from django.db import connections

from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome, permanent
from tests.outbox.conftest import Outbox

JOB, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
REFUSED = permanent("http_422", "Order 4711 is unknown")


def refusing(*numbers: int, outcome: Outcome = REFUSED) -> Callable[[Event], Outcome]:
    return lambda event: outcome if event.payload["n"] in numbers else DELIVERED


def die(
    outbox: Outbox, aggregate: Any, number: int, *followers: int, outcome: Outcome = REFUSED
) -> uuid.UUID:
    """Let an event die, with followers behind it; returns the id of its dead letter."""
    event_id, *_ = outbox.publish(aggregate, number, *followers)
    outbox.drain(refusing(number, outcome=outcome))
    found: uuid.UUID = outbox.value(
        "SELECT id FROM outbox_dlq WHERE original_event_id = %s", [event_id]
    )
    return found


def event_of(outbox: Outbox, letter: uuid.UUID) -> uuid.UUID:
    found: uuid.UUID = outbox.value(
        "SELECT original_event_id FROM outbox_dlq WHERE id = %s", [letter]
    )
    return found


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Start it on a connection of its own; what it returned or raised is the list's one item."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            found.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Do these at the same moment, each on a connection of its own."""
    barrier = threading.Barrier(len(calls))

    def at_once(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            connections["default"].ensure_connection()
            barrier.wait(30)
            return call()

        return run

    started = [in_thread(at_once(call)) for call in calls]
    for thread, _ in started:
        thread.join(60)
    return [found[0] for _, found in started]
