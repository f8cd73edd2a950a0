"""A destination that writes a line for each event into a file, and fails and dies at random."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outbox.events import Event
from outbox.outcomes import DELIVERED, HELD, Kind, Outcome, down, rejected


class Journal:
    """``rejects``, ``downs`` and ``dies`` are probabilities for each event."""

    def __init__(
        self,
        *,
        path: str,
        rejects: float = 0.0,
        downs: float = 0.0,
        dies: float = 0.0,
        poison: int = -1,
        **_envelope: Any,
    ) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._rejects, self._downs, self._dies, self._poison = rejects, downs, dies, poison
        self._rng = random.Random(os.getpid())

    def open(self) -> None: ...

    def send_batch(self, events: Sequence[Event]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        stumbled: set[Any] = set()
        for event in events:
            outcome = HELD if event.key in stumbled else self._send(event)
            if outcome.kind is not Kind.DELIVERED:
                stumbled.add(event.key)
            outcomes.append(outcome)
        return outcomes

    def _send(self, event: Event) -> Outcome:
        chance = self._rng.random()
        if chance < self._rejects:
            return rejected("unlucky", "it happens")
        if chance < self._rejects + self._downs:
            return down("away", "it happens")
        number = event.payload["n"]
        if number == self._poison:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(self._file, f"{event.subject} {number} {event.id}\n".encode())
        # Delivered, and nobody is left to say so.
        if chance > 1 - self._dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return DELIVERED

    def close(self) -> None: ...


def read(path: Path) -> list[tuple[str, int, str]]:
    """The lines: subject, number, id of each delivery, in order."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        subject, number, event_id = line.split()
        found.append((subject, int(number), event_id))
    return found
