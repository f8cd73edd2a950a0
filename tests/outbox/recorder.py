"""Publishers for tests of the relay: they remember what they were given, and fail on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from outbox.events import Event
from outbox.outcomes import DELIVERED, HELD, Kind, Outcome

Judge = Callable[[Event], Outcome]


class Recorder:
    """Judges each event by ``judge``; keeps to the rule that a key stops at its first failure."""

    def __init__(self, judge: Judge | None = None) -> None:
        self.judge = judge or (lambda event: DELIVERED)
        self.delivered: list[Event] = []
        self.batches: list[list[Event]] = []
        self.opened = self.closed = 0
        #: Set whenever something was delivered.
        self.arrived = threading.Event()

    def open(self) -> None:
        self.opened += 1

    def send_batch(self, events: Sequence[Event]) -> Sequence[Outcome]:
        self.batches.append(list(events))
        outcomes: list[Outcome] = []
        stumbled: set[Any] = set()
        for event in events:
            outcome = HELD if event.key in stumbled else self.judge(event)
            if outcome.kind is Kind.DELIVERED:
                self.delivered.append(event)
            else:
                stumbled.add(event.key)
            outcomes.append(outcome)
        self.arrived.set()
        return outcomes

    def close(self) -> None:
        self.closed += 1

    @property
    def numbers(self) -> list[Any]:
        """What the payloads have under ``n``, in the order of delivery."""
        return [event.payload["n"] for event in self.delivered]
