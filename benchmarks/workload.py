"""What the benchmarks of the outbox publish, a payload of about 200 bytes, and to whom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

PAYLOAD = {
    "user": 123456,
    "kind": "invoice.send",
    "email": "someone@example.com",
    "tags": ["alpha", "beta", "gamma"],
    "amount": "1234.56",
    "note": "x" * 68,
}
PAYLOAD_TEXT = json.dumps(PAYLOAD)


class Taker:
    """A publisher that takes everything, and remembers what it took unless told not to."""

    def __init__(self, *, remembers: bool = True) -> None:
        self._remembers = remembers
        self.batches: list[Sequence[Any]] = []

    def open(self) -> None:
        pass

    def send_batch(self, events: Sequence[Any]) -> Sequence[Any]:
        from outbox.outcomes import DELIVERED  # noqa: PLC0415

        if self._remembers:
            self.batches.append(events)
        return [DELIVERED] * len(events)

    def close(self) -> None:
        pass

    def check(self, events: int) -> None:
        """Everything once, and each aggregate in the order of its numbers."""
        newest: dict[Any, int] = {}
        taken = 0
        for event in (event for batch in self.batches for event in batch):
            if newest.get(event.key, 0) >= event.seq:
                raise SystemExit(f"Event {event.seq} of {event.key} was out of order.")
            newest[event.key] = event.seq
            taken += 1
        if taken != events:
            raise SystemExit(f"{taken} events were taken of {events}.")
