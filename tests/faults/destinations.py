"""Destinations that fail, and kill the relay's process, at random: a function that writes into a
file, and NATS JetStream."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path
from typing import Any, NamedTuple

from outbox.events import Event
from outbox.outcomes import Kind, Outcome, down, rejected
from outbox.publishers.callable import CallablePublisher, Unavailable
from outbox.publishers.concurrent import Connection
from outbox.publishers.nats import NatsPublisher


class Delivery(NamedTuple):
    """What a destination has got: ``number`` grows with the events of a subject."""

    subject: str
    number: int
    event_id: str


class Journal(CallablePublisher):
    """The publisher that calls a function; this one writes a line for each event into a file."""

    def __init__(
        self, *, source: str, namespace: str, path: str, poison: int = -1, **faults: Any
    ) -> None:
        super().__init__(source=source, namespace=namespace, function=self._take)
        self._file = File(path)
        self._poison = poison
        self._faults = Faults(**faults)

    def _take(self, event: Event) -> None:
        fault = self._faults.drawn()
        if fault is not None:
            kind = Unavailable if fault.kind is Kind.DOWN else RuntimeError
            raise kind(fault.message)
        if event.payload["n"] == self._poison:
            die()
        self._file.write(event)
        # Delivered, and nobody is left to say so.
        if self._faults.is_deadly():
            die()


class Stuck(CallablePublisher):
    """Never comes back from its first event; what it has begun it says in a file."""

    def __init__(self, *, source: str, namespace: str, path: str, **_options: Any) -> None:
        super().__init__(source=source, namespace=namespace, function=self._take)
        self._file = File(path)

    def _take(self, event: Event) -> None:
        self._file.write(event)
        threading.Event().wait()


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
