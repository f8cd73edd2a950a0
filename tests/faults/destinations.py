"""Destinations that fail, and kill the relay's process, at random: a file, and NATS JetStream."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from outbox.events import Event
from outbox.outcomes import DELIVERED, HELD, Kind, Outcome, down, rejected
from outbox.publishers.concurrent import Connection
from outbox.publishers.nats import NatsPublisher


class Delivery(NamedTuple):
    """What a destination has got: ``number`` grows with the events of a subject."""

    subject: str
    number: int
    event_id: str


class Journal:
    """Writes a line for each event into a file."""

    def __init__(self, *, path: str, poison: int = -1, **options: Any) -> None:
        self._file = File(path)
        self._poison = poison
        self._faults = Faults(**options)

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
        fault = self._faults.drawn()
        if fault is not None:
            return fault
        if event.payload["n"] == self._poison:
            die()
        self._file.write(event)
        # Delivered, and nobody is left to say so.
        if self._faults.is_deadly():
            die()
        return DELIVERED

    def close(self) -> None: ...


class FaultyNats(NatsPublisher):
    """To JetStream; ``path`` is of a file with a line for each message that was sent."""

    def __init__(
        self,
        *,
        path: str,
        rejects: float = 0.0,
        downs: float = 0.0,
        dies: float = 0.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._file = File(path)
        self._faults = Faults(rejects=rejects, downs=downs, dies=dies, seed=seed)

    async def connect(self) -> Any:
        return FaultyConnection(await super().connect(), self._file, self._faults)


class FaultyConnection:
    """What goes down here has arrived, as after a connection that broke too early."""

    def __init__(self, inner: Connection, file: File, faults: Faults) -> None:
        self.lost = inner.lost
        self._inner, self._file, self._faults = inner, file, faults

    async def send(self, event: Event) -> Outcome:
        fault = self._faults.drawn()
        if fault is not None and fault.kind is Kind.REJECTED:
            return fault
        self._file.write(event)
        outcome = await self._inner.send(event)
        if self._faults.is_deadly():
            die()
        return fault or outcome

    async def close(self) -> None:
        await self._inner.close()


class Faults:
    """``rejects``, ``downs`` and ``dies`` are probabilities for each event."""

    def __init__(
        self,
        *,
        rejects: float = 0.0,
        downs: float = 0.0,
        dies: float = 0.0,
        seed: int = 0,
        **_envelope: Any,
    ) -> None:
        self._rejects, self._downs, self._dies = rejects, downs, dies
        self._rng = random.Random(seed)

    def drawn(self) -> Outcome | None:
        chance = self._rng.random()
        if chance < self._rejects:
            return rejected("unlucky", "it happens")
        if chance < self._rejects + self._downs:
            return down("away", "it happens")
        return None

    def is_deadly(self) -> bool:
        return self._rng.random() < self._dies


class File:
    """Outlives the process, and takes whole lines from several of them."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, event: Event) -> None:
        os.write(self._file, f"{event.subject} {event.payload['n']} {event.id}\n".encode())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def read(path: Path) -> list[Delivery]:
    """The lines of such a file, in order."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return [Delivery(subject, int(number), event_id) for subject, number, event_id in lines]
