"""Events as a relay hands them to a publisher."""

from __future__ import annotations

import itertools
import json
import uuid
from datetime import UTC, datetime
from typing import Any

from outbox.events import Event

SOURCE = {"source": "/shop", "namespace": "example.shop"}
_numbers = itertools.count(1)


def make_event(
    key: uuid.UUID | None = None,
    payload: Any = None,
    *,
    event_type: str = "OrderPlaced",
    **changes: Any,
) -> Event:
    """An event; those that are made later have a higher ``seq``."""
    number = next(_numbers)
    key = key or uuid.uuid4()
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "seq": number,
        "event_type": event_type,
        "version": 1,
        "aggregate_type": "ORDER",
        "aggregate_id": key,
        "subject": str(key),
        "data": json.dumps({"number": number} if payload is None else payload),
        "metadata": {},
        "idempotency_key": None,
        "created_at": datetime(2026, 11, 5, 12, 30, tzinfo=UTC),
        "destination": "default",
    }
    return Event(**{**values, **changes})


def make_events(keys: int, each: int, payload: Any = None) -> list[Event]:
    """So many events of so many keys, which take turns."""
    chosen = [uuid.uuid4() for _ in range(keys)]
    return [make_event(key, payload) for _ in range(each) for key in chosen]
