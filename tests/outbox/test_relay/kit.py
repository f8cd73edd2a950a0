"""Aggregates, failures and a relay at work."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager

from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome
from outbox.relay import Relay
from tests.outbox.conftest import Outbox
from tests.working import at_work

JOB, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
SAME_LANE = uuid.UUID(int=65)


def failing(outcome: Outcome, *numbers: int) -> Callable[[Event], Outcome]:
    return lambda event: outcome if event.payload["n"] in numbers else DELIVERED


def retry_now(outbox: Outbox) -> None:
    """Let every retry time have come."""
    outbox.execute("UPDATE outbox_keys SET retry_at = now() WHERE state = 'BACKOFF'")


def running(relay: Relay) -> AbstractContextManager[threading.Thread]:
    """The relay at work in a thread, until the block ends."""
    return at_work(relay.run, relay._stop.set)


def make(aggregate: int, number: int) -> Event:
    from datetime import UTC, datetime

    return Event(
        id=uuid.uuid4(),
        seq=number,
        event_type="Counted",
        version=1,
        aggregate_type="JOB",
        aggregate_id=uuid.UUID(int=aggregate),
        subject="x",
        data=f'{{"n": {number}}}',
        metadata={},
        idempotency_key=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        destination="default",
    )
