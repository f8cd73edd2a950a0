"""The tables of the outbox, empty and committed to: relays look at them over connections of their
own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from outbox.conf import Destination
from outbox.outcomes import Outcome
from outbox.relay import Relay
from outbox.services.publish import publish
from outbox.testing import _OnDjangosConnection
from tests.outbox.recorder import Recorder
from tests.tables import Tables, empty, transactional_db

__all__ = ["transactional_db"]

TABLES = (
    "outbox_events, outbox_dlq, outbox_dlq_actions, outbox_lanes, outbox_keys, outbox_relays, "
    "outbox_inbox"
)


class Outbox(Tables):
    """What a test says to the outbox, and asks of it."""

    def publish(self, aggregate: Any, *numbers: int, **options: Any) -> list[uuid.UUID]:
        """Publish an event for each number, in one transaction."""
        with transaction.atomic():
            return [
                publish("Counted", "JOB", aggregate, {"n": number}, **options) for number in numbers
            ]

    def relay(
        self,
        publisher: Recorder | None = None,
        *,
        stop: threading.Event | None = None,
        destination: Destination | None = None,
        once: bool = True,
        **options: Any,
    ) -> Relay:
        return Relay(
            "default",
            destination or Destination(name="default", publisher="unused"),
            publisher or Recorder(),
            stop=stop or threading.Event(),
            once=once,
            **options,
        )

    def drain(self, judge: Callable[[Any], Outcome] | None = None, **options: Any) -> Recorder:
        """Run a relay until nothing is left to send; returns what it was given."""
        recorder = Recorder(judge)
        self.run(self.relay(recorder, **options))
        return recorder

    def run(self, relay: Relay) -> None:
        relay.run()

    def statuses(self) -> dict[int, str]:
        return dict(self.rows("SELECT (payload ->> 'n')::int, status FROM outbox_events"))


class Inside(Outbox):
    """The same within one transaction, that of the test."""

    def run(self, relay: Relay) -> None:
        relay.drain(_OnDjangosConnection("default"))


@pytest.fixture
def outbox(transactional_db: None) -> Iterator[Outbox]:
    """The outbox of the test database, empty."""
    found = Outbox()
    empty(TABLES)
    try:
        yield found
    finally:
        empty(TABLES)


@pytest.fixture
def inside(db: None) -> Outbox:
    """The outbox of the test database, inside of the test's transaction: nobody else sees it, and
    it is gone afterwards."""
    return Inside()
