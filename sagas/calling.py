"""The threads in which steps are called that are not local. A call that does not come back keeps
its thread; another one takes its place."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from django.db import close_old_connections, connections

from jobs.retry import storable
from sagas.calls import words_of
from sagas.definition import Verdict
from sagas.settle import Doubted, Outcome
from sagas.stepping import Flight

logger = logging.getLogger(__name__)

#: A call that was abandoned keeps a thread; with so many times as many the runner takes no more.
MOST_ABANDONED = 10


#: A call and what came of it; None: it was not called, since its lease had run out.
Back: TypeAlias = tuple[Flight, Outcome | Verdict | None]


class Caller(Protocol):
    """Calls steps, and knows which ones are under way."""

    @property
    def free(self) -> int:
        """How many more calls may be submitted."""

    @property
    def stuck(self) -> int:
        """How many calls have not come back, where those are so many that none may be submitted;
        else 0."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing has come back."""

    def submit(self, flight: Flight) -> None: ...

    def take_back(self) -> list[Back]:
        """What came back since the last time."""

    def abandon(self, flight: Flight) -> None:
        """Nobody waits for it any more."""

    def close(self) -> None:
        """Begin nothing any more."""


class Inline:
    """Calls steps at once, in the thread that submits them: for tests."""

    free = 1_000
    stuck = 0

    def __init__(self) -> None:
        self._back: list[Back] = []

    @property
    def is_idle(self) -> bool:
        return not self._back

    def submit(self, flight: Flight) -> None:
        self._back.append((flight, flight.call()))

    def take_back(self) -> list[Back]:
        found, self._back = self._back, []
        return found

    def abandon(self, flight: Flight) -> None:
        pass

    def close(self) -> None:
        pass


class Calling:
    """``slots`` calls at once. ``ring`` is called, in any thread, when one came back."""

    def __init__(self, slots: int, ring: Callable[[], None]) -> None:
        self.slots = slots
        self._ring = ring
        self._mutex = threading.Lock()
        self._something = threading.Condition(self._mutex)
        self._waiting: deque[Flight] = deque()
        self._back: deque[Back] = deque()
        #: Begun or waiting, and not abandoned.
        self._live: set[Flight] = set()
        self._abandoned = 0
        self._idle = 0
        self._closed = False
        self._threads: list[threading.Thread] = []

    @property
    def free(self) -> int:
        with self._mutex:
            return 0 if self._is_stuck() else self.slots - len(self._live)

    @property
    def stuck(self) -> int:
        with self._mutex:
            return self._abandoned if self._is_stuck() else 0

    @property
    def is_idle(self) -> bool:
        with self._mutex:
            return not self._live and not self._back

    def submit(self, flight: Flight) -> None:
        with self._something:
            self._live.add(flight)
            self._waiting.append(flight)
            if self._idle < len(self._waiting):
                thread = threading.Thread(target=self._work, name="saga steps", daemon=True)
                self._threads = [one for one in self._threads if one.is_alive()]
                self._threads.append(thread)
                thread.start()
            self._something.notify()

    def take_back(self) -> list[Back]:
        with self._mutex:
            found = list(self._back)
            self._back.clear()
            return found

    def abandon(self, flight: Flight) -> None:
        with self._mutex:
            if flight in self._live:
                self._live.discard(flight)
                if flight in self._waiting:
                    self._waiting.remove(flight)
                else:
                    self._abandoned += 1

    def close(self) -> None:
        with self._something:
            self._closed = True
            self._something.notify_all()
        # They close their connections; but what was abandoned may never end.
        for thread in self._threads:
            while thread.is_alive() and self._are_ending():
                thread.join(0.05)

    def _is_stuck(self) -> bool:
        return self._abandoned >= self.slots * MOST_ABANDONED

    def _are_ending(self) -> bool:
        with self._mutex:
            return sum(thread.is_alive() for thread in self._threads) > self._abandoned

    def _work(self) -> None:
        try:
            while (flight := self._next()) is not None:
                close_old_connections()
                self._done(flight, self._call(flight))
        finally:
            connections.close_all()

    def _call(self, flight: Flight) -> Outcome | Verdict | None:
        if flight.held.valid_until <= time.monotonic():
            logger.warning("step was not called, its lease is over saga=%s", flight.held.saga.id)
            return None
        try:
            return flight.call()
        except BaseException as error:  # nobody else would hear of it
            logger.exception("step raised what is no error of its own step=%s", flight.step.name)
            return Doubted(storable(words_of(error)), storable(type(error).__qualname__, 255))

    def _next(self) -> Flight | None:
        with self._something:
            self._idle += 1
            try:
                while not self._waiting:
                    if self._closed or self._idle > self.slots:
                        return None
                    self._something.wait()
                return self._waiting.popleft()
            finally:
                self._idle -= 1

    def _done(self, flight: Flight, outcome: Outcome | Verdict | None) -> None:
        with self._mutex:
            if flight in self._live:
                self._live.discard(flight)
                self._back.append((flight, outcome))
            else:
                self._abandoned -= 1
        self._ring()
