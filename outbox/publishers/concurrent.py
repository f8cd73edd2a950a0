"""Sends a batch through an asynchronous client: keys side by side, each key one after the other.

Within a key an event leaves only when the one before it is confirmed. Pipelining a key would be
faster and wrong: a server may refuse the first of two and take the second.

The client lives in an event loop in a thread of its own, so that between two batches heartbeats are
answered and a lost connection is noticed. A connection is never repaired: after anything that says
DOWN it is thrown away, with what its client still had buffered, and the next batch makes a new one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from hodei.values import said
from outbox.events import Event
from outbox.outcomes import HELD, Kind, Outcome, down, rejected
from outbox.publishers import chains

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that a connection gets for an orderly farewell.
FAREWELL = 1.0


class Unreachable(Exception):  # noqa: N818  (it reads as the fact it states)
    """There is no connection, and so no event was sent. ``outcome`` says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Connection(Protocol):
    """One connection to a destination."""

    #: Done when the connection is gone; the outcome says why.
    lost: asyncio.Future[Outcome]

    async def send(self, event: Event) -> Outcome:
        """Send one event and wait for its confirmation."""
        ...

    async def close(self) -> None:
        """Let go of it. May fail."""


class ConcurrentPublisher(ABC):
    """A publisher whose client is asynchronous."""

    def __init__(self, *, in_flight: int, timeout: float) -> None:
        """``timeout``: seconds to wait for a connection, and for each confirmation."""
        self._in_flight = in_flight
        self._timeout = timeout
        self._loop: PrivateLoop | None = None
        self._connection: Connection | None = None

    @abstractmethod
    async def connect(self) -> Connection:
        """Make a new connection. Raises Unreachable; anything else it raises means the same."""

    def open(self) -> None:
        if self._loop is None:
            self._loop = PrivateLoop(type(self).__name__)

    def send_batch(self, events: Sequence[Event]) -> Sequence[Outcome]:
        if not events:
            return []
        self.open()
        assert self._loop is not None  # noqa: S101  (open() made it)
        return self._loop.run(self._send(events))

    def close(self) -> None:
        if self._loop is not None:
            try:
                self._loop.run(self._drop())
            finally:
                self._loop.stop()
                self._loop = None

    async def _send(self, events: Sequence[Event]) -> list[Outcome]:
        try:
            connection = await self._connected()
        except Unreachable as error:
            return [error.outcome, *[HELD] * (len(events) - 1)]
        batch = Batch(events)
        await batch.run(connection, in_flight=self._in_flight, patience=self._timeout)
        if any(outcome.kind is Kind.DOWN for outcome in batch.outcomes):
            await self._drop()
        return batch.outcomes

    async def _connected(self) -> Connection:
        if self._connection is not None and self._connection.lost.done():
            await self._drop()
        if self._connection is None:
            try:
                async with asyncio.timeout(self._timeout):
                    self._connection = await self.connect()
            except TimeoutError as error:
                message = f"There was no connection within {self._timeout:g} s."
                raise Unreachable(down("timeout", message)) from error
            except Unreachable:
                raise
            except (Exception, SystemExit) as error:
                # Whatever it is, no event is to blame: none has been sent.
                logger.exception("there is no connection publisher=%s", type(self).__name__)
                raise Unreachable(down(type(error).__name__, said(error))) from error
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # Whatever goes wrong while leaving: it is left.
            with suppress(Exception):
                async with asyncio.timeout(FAREWELL):
                    await connection.close()


class Batch:
    """A batch on its way, and what became of each of its events so far."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._chains = list(chains(events))
        self._waiting = iter(self._chains)
        #: Places of the events that are on their way and since when, the oldest first.
        self._since: dict[int, float] = {}
        self._is_stopped = False
        self.outcomes: list[Outcome] = [HELD] * len(events)

    async def run(self, connection: Connection, *, in_flight: int, patience: float) -> None:
        """Send it. Returns as soon as nothing more is to be expected."""
        number = min(in_flight, len(self._chains))
        workers = [asyncio.create_task(self._work(connection)) for _ in range(number)]
        finished = asyncio.gather(*workers, return_exceptions=True)
        try:
            reason = await self._watch(finished, connection.lost, patience)
        finally:
            for worker in workers:
                worker.cancel()
            await finished
        if reason is not None:
            for place in self._since:
                # It may have arrived, and nobody will ever say so.
                self.outcomes[place] = reason

    async def _watch(
        self, finished: asyncio.Future[Any], lost: asyncio.Future[Outcome], patience: float
    ) -> Outcome | None:
        """Wait for the end; returns why it came too early, if it did."""
        while True:
            left = self._oldest() + patience - asyncio.get_running_loop().time()
            if left <= 0:
                return down("timeout", f"There was no confirmation within {patience:g} s.")
            await asyncio.wait({finished, lost}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if finished.done():
                return None
            if lost.done():
                return lost.result()

    def _oldest(self) -> float:
        """Since when the event is on its way that has been longest."""
        return next(iter(self._since.values()), asyncio.get_running_loop().time())

    async def _work(self, connection: Connection) -> None:
        clock = asyncio.get_running_loop().time
        for chain in self._waiting:
            for place in chain:
                if self._is_stopped:
                    return
                self._since[place] = clock()
                outcome = await _send(connection, self._events[place])
                del self._since[place]
                self.outcomes[place] = outcome
                if outcome.kind is Kind.DOWN:
                    self._is_stopped = True
                if outcome.kind is not Kind.DELIVERED:
                    break


async def _send(connection: Connection, event: Event) -> Outcome:
    try:
        return await connection.send(event)
    except (Exception, SystemExit) as error:
        # One event whose sending fails in an unknown way must not hold up all others for ever.
        logger.exception("event_id=%s could not be sent", event.id)
        return rejected(type(error).__name__, said(error))


class PrivateLoop:
    """An event loop in a thread of its own, used from one other thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there and return what it returns."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
