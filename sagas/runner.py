"""Drives sagas: leases those that are due, calls their steps, and writes down what came of it.

Any number of runners share the work. What one of them leaves half done when it dies is taken over
by another when its lease ends: see docs/explanation/sagas.md.
"""

from __future__ import annotations

import logging
import secrets
import threading
import uuid
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from django.db import connections

from hodei.backoff import Backoff
from hodei.polling import Bell, Pace
from hodei.sessions import connect, is_pooled, owner_name
from sagas import registry, settle
from sagas.calling import Caller, Calling
from sagas.chores import Chores
from sagas.definition import Saga
from sagas.held import Held
from sagas.keeper import Keeper
from sagas.leases import LEASE_SECONDS, Leases
from sagas.ledger import record
from sagas.local import LocalSteps
from sagas.pipe import Pipe
from sagas.stepping import Flight, begin, end, is_local, move_on, targets
from sagas.wakeup import CHANNEL, GATE, PLACE

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

#: Seconds between two looks for work: soon after there was some, and at most so long.
SHORTEST_POLL, LONGEST_POLL = 0.02, 1.0
#: Where some were due, but fewer than so many, and all of them are dealt with, more are gathered
#: for so many seconds: a look at twenty costs little more than one at two.
FEW, GATHER = 20, 0.01
#: Sagas of one claim.
BATCH = 100
#: Pauses between attempts to reach the database.
RECONNECTS = Backoff(base=0.5, cap=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """``definitions``: those to run; None is all that are registered. ``drain``: end when there is
    nothing left to do now."""

    using: str = "default"
    concurrency: int = 10
    drain: bool = False
    definitions: Sequence[type[Saga]] | None = None
    longest_poll: float = LONGEST_POLL
    lease_seconds: float = LEASE_SECONDS
    batch: int = BATCH
    chores: bool = True


@dataclass(slots=True)
class Counts:
    """What a runner has done since it began."""

    claimed: int = 0
    ended: int = 0
    calls: int = 0


class Runner:
    """Works in the thread that calls ``run``; setting ``stop`` ends it, when the calls that are
    under way have come back."""

    def __init__(
        self, options: RunnerOptions, *, rng: Random | None = None, calling: Caller | None = None
    ) -> None:
        self.options = options
        self.owner = f"{owner_name()}-{secrets.token_hex(3)}"
        self.stop = threading.Event()
        self.counts = Counts()
        self._rng = rng or Random()  # noqa: S311  (to spread load, not to hide anything)
        known = registry.definitions() if options.definitions is None else options.definitions
        self.leases = Leases(self.owner, known, seconds=options.lease_seconds, rng=self._rng)
        self._local = LocalSteps(options.using, self.leases, self._rng)
        self._pipe = Pipe()
        self._calling: Caller = calling or Calling(options.concurrency, self._pipe.ring)
        self._held: dict[uuid.UUID, Held] = {}
        self._mutex = threading.Lock()
        #: Whether the last look that found some found few.
        self._gathers = False
        #: Whether so many calls have not come back that it takes no more sagas.
        self._is_stuck = False
        #: Calls that wait for a slot.
        self._waiting = 0
        self._pace = Pace(shortest=SHORTEST_POLL, longest=options.longest_poll)
        #: Failures in a row to reach the database.
        self._failures = 0

    def run(self) -> None:
        """Work until ``stop`` is set, or with ``drain`` until nothing is due. A database that goes
        away is waited for; one that was never there is an error: psycopg.OperationalError."""
        from django.db import Error as DjangoError  # noqa: PLC0415
        from psycopg import Error  # noqa: PLC0415

        keeper = Keeper(self.options.using, self.leases, self._snapshot)
        chores = Chores(self.options.using)
        reached = False
        try:
            while True:
                try:
                    with closing(connect(self.options.using, "hodei sagas runner")) as session:
                        if not reached:
                            keeper.start()
                            if self.options.chores:
                                chores.start()
                            reached = True
                        if self._failures:
                            self._recover(session)
                            self.leases.release_others(session, self._snapshot())
                        self._work(session)
                except (Error, DjangoError) as error:
                    if not reached or self.stop.is_set():
                        raise
                    self._wait_for_the_database(error)
                else:
                    return
        finally:
            chores.stop()
            if reached:
                keeper.stop()
            self._calling.close()
            self._pipe.close()

    def drain(self, session: Any) -> None:
        """Drive what is due now, over a session of the caller's: for tests, into whose transaction
        nobody else can look. The leases are not renewed."""
        try:
            while self._round(session) or not self._is_quiet():
                pass
        finally:
            self._pipe.close()

    def wake(self) -> None:
        """Look at ``stop`` at once; from any thread, and from a signal's handler."""
        self._pipe.ring()

    def _wait_for_the_database(self, error: Exception) -> None:
        self._failures += 1
        pause = RECONNECTS.pause(self._failures, self._rng)
        logger.warning(
            "runner lost its database again_in=%.1f error=%s", pause, " ".join(str(error).split())
        )
        connections[self.options.using].close()
        for held in self._snapshot():
            held.unsure = True
        self.stop.wait(pause)

    def _recover(self, session: psycopg.Connection[Any]) -> None:
        """After the database was away: read again what may be stored or not."""
        unsure = [held for held in self._snapshot() if held.unsure]
        if not unsure:
            return
        stored = {held.saga.id: held for held in self.leases.reload(session, unsure)}
        for held in unsure:
            found = stored.get(held.saga.id)
            if found is None:
                held.lost = True
            elif not held.has_changes or held.is_stored_in(found):
                held.become(found)
            else:
                held.saga = replace(held.saga, epoch=found.saga.epoch)
                held.unsure = False
        self._drop_lost()

    def _work(self, session: psycopg.Connection[Any]) -> None:
        from psycopg import Error  # noqa: PLC0415

        bell = Bell(session, channel=CHANNEL, gate=GATE, listens=not is_pooled(session))
        while not self._is_over():
            moved = self._round(session)
            self._failures = 0
            if moved:
                self._pace.found()
                bell.open_gates()
                if self._gathers and not self._held and not self.options.drain:
                    self._pipe.wait(session, GATHER)
            elif self.options.drain and self._is_quiet():
                break
            else:
                self._rest(session, bell)
        # Not where something was raised: calls are under way, or a step has ended its runner, which
        # counts against its saga only as long as that has a lease.
        with suppress(Error):
            self.leases.release(session, self._snapshot())

    def _is_over(self) -> bool:
        return self.stop.is_set() and self._calling.is_idle

    def _is_quiet(self) -> bool:
        return not self._held and self._calling.is_idle

    def _round(self, session: psycopg.Connection[Any]) -> int:
        """One look at everything; returns how much was moved on."""
        moved = self._take_back() + self._abandon_late()
        if moved:
            # By itself: what people asked for meanwhile is known before anything else is begun.
            record(session, self.leases, [held for held in self._snapshot() if held.has_changes])
            self._drop_lost()
        stuck = self._calling.stuck
        if not self.stop.is_set() and not stuck:
            moved += self._claim(session)
        local, written, flights = self._decide()
        self._write(session, written, flights)
        for flight in flights:
            if not flight.held.lost:
                self._calling.submit(flight)
        self.counts.calls += len(flights)
        moved += self._let_go(written) + len(flights)
        ours = [held for held in local if not held.lost]
        if ours:
            moved += self._run_local(session, ours)
        self._leave_to_others(session, stuck)
        return moved

    def _decide(self) -> tuple[list[Held], list[Held], list[Flight]]:
        """What comes next for each saga: those with a local step, those with something to write,
        and the calls for which there is a slot."""
        local: list[Held] = []
        written: list[Held] = []
        flights: list[Flight] = []
        free = self._calling.free
        self._waiting = 0
        for held in self._snapshot():
            move = move_on(held, self.leases.clock, self._rng)
            calls = [] if move is None else targets(held, move)
            if self.stop.is_set():
                pass
            elif is_local(calls):
                local.append(held)
            else:
                room = max(free - len(flights), 0)
                self._waiting += max(len(calls) - room, 0)
                flights += [
                    begin(held, target, self.leases.clock, self.options.using)
                    for target in calls[:room]
                ]
            if held.has_changes:
                written.append(held)
        return local, written, flights

    def _write(self, session: Any, written: Sequence[Held], flights: Sequence[Flight]) -> None:
        try:
            record(session, self.leases, written)
        except BaseException:
            # They are not called: whether the intents are stored is not known.
            for flight in flights:
                flight.held.in_flight.pop(flight.order, None)
            raise
        self._drop_lost()

    def _take_back(self) -> int:
        moved = 0
        for flight, outcome in self._calling.take_back():
            if outcome is None:
                flight.held.in_flight.pop(flight.order, None)
                flight.held.lost = True
            elif end(flight, outcome, self.leases.clock, self._rng):
                moved += 1
        self._drop_lost()
        return moved

    def _abandon_late(self) -> int:
        """Give up waiting for calls whose time is over: nobody knows whether they were done."""
        moved = 0
        for held in self._snapshot():
            for flight in list(held.in_flight.values()):
                if self._is_late(held, flight):
                    self._calling.abandon(flight)
                    seconds = flight.step.timeout.total_seconds()
                    late = settle.Doubted(
                        f"It was not back within {seconds:g} s.", settle.TIMED_OUT
                    )
                    moved += end(flight, late, self.leases.clock, self._rng)
        return moved

    def _is_late(self, held: Held, flight: Flight) -> bool:
        return flight.until <= self.leases.clock.now()

    def _claim(self, session: psycopg.Connection[Any]) -> int:
        most = max(self.options.batch, 2 * self.options.concurrency)
        number = most - len(self._held)
        # Not one by one: a claim of many costs little more than a claim of one. And none while
        # sagas wait for a slot: another runner may have one.
        if number < most // 2 or self._waiting:
            return 0
        # Of those that may be what ends their runners one at a time: it is clear which one it is.
        suspects = not any(held.is_suspect for held in self._snapshot())
        found = self.leases.claim(session, number, suspects=suspects)
        self._add(found)
        if found:
            # One alone, time and again, is somebody who waits for it before starting the next.
            self._gathers = 1 < len(found) < FEW
        self.counts.claimed += len(found)
        return len(found)

    def _leave_to_others(self, session: Any, calls: int) -> None:
        """There are threads for no further call where so many have not come back: give back what
        waits for one."""
        if calls and not self._is_stuck:
            logger.error(
                "runner takes no more sagas: %d calls have not come back, and each keeps a thread. "
                "Give what they wait for a time limit of its own, and restart the runner",
                calls,
            )
        self._is_stuck = bool(calls)
        if not calls:
            return
        left = [one for one in self._snapshot() if not one.in_flight and not one.has_changes]
        self.leases.release(session, left)
        for held in left:
            self._remove(held)

    def _add(self, sagas: Sequence[Held]) -> None:
        with self._mutex:
            for held in sagas:
                before = self._held.get(held.saga.id)
                if before is not None:
                    # Its lease had run out, and it is ours once more.
                    before.lost = True
                    for flight in before.in_flight.values():
                        self._calling.abandon(flight)
                self._held[held.saga.id] = held

    def _snapshot(self) -> list[Held]:
        with self._mutex:
            return list(self._held.values())

    def _drop_lost(self) -> None:
        for held in self._snapshot():
            if held.lost:
                logger.warning("saga is not ours any more saga=%s", held.saga.id)
                for flight in held.in_flight.values():
                    self._calling.abandon(flight)
                held.in_flight.clear()
                self._remove(held)

    def _remove(self, held: Held) -> None:
        with self._mutex:
            if self._held.get(held.saga.id) is held:
                del self._held[held.saga.id]

    def _let_go(self, written: Sequence[Held]) -> int:
        """Forget those that rest or have ended, as it was written down."""
        for held in written:
            if held.rests and not held.lost:
                self._remove(held)
                self.counts.ended += held.saga.outcome is not None
        return len(written)

    def _run_local(self, session: psycopg.Connection[Any], sagas: Sequence[Held]) -> int:
        try:
            dealt = self._local.run(sagas)
        except Exception:
            # Something that waited for a commit, or the commit itself.
            logger.exception("a transaction of local steps ended badly")
            connections[self.options.using].close()
            self._recover(session)
            dealt = []
        self._drop_lost()
        self._let_go(dealt)
        return len(dealt) or 1

    def _rest(self, session: psycopg.Connection[Any], bell: Bell) -> None:
        """Nothing to do: sleep until somebody rings, a call comes back, or something is due."""
        bell.close_gates([PLACE])
        if self._round(session):
            self._pace.found()
            bell.open_gates()
            return
        pause = self._pace.nothing()
        due = self.leases.until_due(session) if pause > SHORTEST_POLL else None
        if due is not None:
            pause = min(pause, due)
        for held in self._snapshot():
            for flight in list(held.in_flight.values()):
                late_in = (flight.until - self.leases.clock.now()).total_seconds()
                pause = min(pause, max(late_in, 0.0))
        self._pipe.wait(session, max(pause, 0.001))
        if bell.wait(0):
            self._pace.found()
