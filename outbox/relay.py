"""The relay of one destination: leases lanes, reads batches, sends them, notes what came of it.

Nothing is written for an event until it has been sent, and no transaction is open while it is. What
a killed relay had sent and not written down is sent again by whoever takes its lanes over: at least
once, in the order of each aggregate. See docs/explanation/outbox.md.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from random import Random
from typing import TYPE_CHECKING, Any

from hodei.backoff import Backoff
from hodei.polling import Bell, Pace
from hodei.sessions import connect, is_pooled, owner_name
from hodei.sql import statement
from hodei.values import said
from outbox import settlement
from outbox.batches import Batch, Fetch
from outbox.breaker import Breaker
from outbox.fingerprint import storable
from outbox.held import let_go
from outbox.keeper import Keeper
from outbox.keys import LANES, lane_of
from outbox.lanes import LEASE_SECONDS, Leases, fair_share
from outbox.outcomes import Outcome
from outbox.sending import send
from outbox.settlement import Counts, Decision
from outbox.wakeup import CHANNEL, GATE

if TYPE_CHECKING:
    import psycopg

    from outbox.conf import Destination
    from outbox.events import Event
    from outbox.publishers import Publisher

logger = logging.getLogger(__name__)

#: Seconds between two looks for work: soon after there was some, and at most so long.
SHORTEST_POLL, LONGEST_POLL = 0.02, 1.0
#: Seconds between two looks for lanes that have become free.
LANE_SECONDS = 1.0
#: An event that was with so many processes that died is given up.
MOST_CRASHES = 3
#: Events that are sent alone before others have their turn again.
MOST_ALONE = 50
#: Pauses between attempts to reach the database.
RECONNECTS = Backoff(base=0.5, cap=10.0)


class Relay:
    """Delivers the events of one destination, in the thread that calls ``run``."""

    def __init__(
        self,
        using: str,
        destination: Destination,
        publisher: Publisher,
        *,
        stop: threading.Event,
        most_lanes: int = LANES,
        lease_seconds: float = LEASE_SECONDS,
        once: bool = False,
        rng: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[Decision], None] | None = None,
    ) -> None:
        self.owner = f"{owner_name()}-{secrets.token_hex(3)}"
        self.destination = destination
        self.breaker = Breaker(rng or Random())  # noqa: S311  (to spread load, not to hide)
        self.counts = Counts()
        self.leases = Leases(destination.name, self.owner, seconds=lease_seconds)
        self._using = using
        self._publisher = publisher
        self._stop = stop
        self._most_lanes = most_lanes
        self._once = once
        self._rng = self.breaker.rng
        self._clock = clock
        #: Told of every batch that was written down.
        self._observe = observe
        self._fetch = Fetch(destination.name)
        self._pace = Pace(shortest=SHORTEST_POLL, longest=LONGEST_POLL)
        #: Failures in a row to reach the database.
        self._failures = 0
        self._lanes_at = 0.0
        #: Lanes beyond a fair share that the others have left, and how many those were then.
        self._spare, self._relays = 0, 1
        #: When an event that was rejected may go again, by the clock.
        self._due_at = 0.0
        #: Events that were marked before they were sent, while nothing is written of them.
        self._marked: list[Event] = []

    def run(self) -> None:
        """Work until ``stop`` is set, or with ``once`` until nothing is left to send.

        A database that goes away is waited for, and after any other error it begins anew, except
        with ``once``: then the error passes.
        """
        from psycopg import Error  # noqa: PLC0415

        is_open = False
        try:
            while not self._stop.is_set():
                try:
                    if not is_open:
                        self._publisher.open()
                        is_open = True
                    with closing(connect(self._using, "hodei outbox relay")) as session:
                        return self._work(session)
                except Exception as error:
                    self.leases.forget()
                    if self._once:
                        raise
                    if isinstance(error, Error):
                        self._wait("relay lost its database", error)
                    else:
                        logger.exception("relay failed destination=%s", self.destination.name)
                        self._publisher.close()
                        is_open = False
                        self._marked.clear()
                        self._wait("relay begins anew", error)
        finally:
            self._publisher.close()

    def drain(self, session: Any) -> None:
        """Send what can be sent now, over a session of the caller's, and give the lanes back.

        For tests, whose transaction nobody else can look into. The leases are not renewed.
        """
        self._publisher.open()
        try:
            self.leases.prepare(session)
            self._mend(session, self.leases.claim(session, self._most_lanes))
            while self._round(session):
                pass
        finally:
            self._publisher.close()
        self.leases.release(session)

    def _wait(self, what: str, error: Exception) -> None:
        self._failures += 1
        pause = RECONNECTS.pause(self._failures, self._rng)
        logger.warning(
            "%s destination=%s again_in=%.1f error=%s",
            what,
            self.destination.name,
            pause,
            " ".join(said(error).split()),
        )
        self._stop.wait(pause)

    def _work(self, session: psycopg.Connection[Any]) -> None:
        from psycopg import Error  # noqa: PLC0415

        bell = Bell(session, channel=CHANNEL, gate=GATE, listens=not is_pooled(session))
        self.leases.prepare(session)
        keeper = Keeper(self._using, self.leases, self.breaker, listens=bell.listens)
        keeper.start()
        gives_back = True
        try:
            while not self._stop.is_set():
                self._share(session, keeper)
                self._failures = 0
                if self._round(session):
                    self._pace.found()
                    bell.open_gates()
                elif self._once and self.leases.may_send():
                    return
                else:
                    self._rest(session, bell)
        except Error:
            raise
        except BaseException:
            # What was being sent may have done it: whoever has the lanes next is to be warned, as
            # after a crash.
            gives_back = False
            raise
        finally:
            keeper.stop()
            with suppress(Error):
                if gives_back:
                    self.leases.release(session)
                keeper.leave(session)

    def _share(self, session: psycopg.Connection[Any], keeper: Keeper) -> None:
        """Have a fair share of the lanes: take free ones, give back what others lack. With ``once``
        all that are free: of the others that have reported, any may be dead, and nobody comes back
        for what is left to them. What the others leave, since they are limited, is taken too."""
        now = self._clock()
        if now < self._lanes_at:
            return
        self._lanes_at = now + LANE_SECONDS
        relays, most = keeper.relays, self._most_lanes
        if relays != self._relays:
            self._relays, self._spare = relays, 0
        share = most if self._once else fair_share(relays, most)
        allowed = min(share + self._spare, most)
        lanes = self.leases.lanes
        if len(lanes) < share:
            self._claim(session, share - len(lanes))
        elif len(lanes) > allowed:
            self.leases.release(session, lanes[allowed:])
        elif keeper.untaken and len(lanes) < most:
            # One of the others at least does not want them.
            left = -(-keeper.untaken // max(relays - 1, 1))
            keeper.untaken = 0
            new = self._claim(session, min(left, most - len(lanes)))
            self._spare = len(lanes) + new - share

    def _claim(self, session: psycopg.Connection[Any], number: int) -> int:
        new = self.leases.claim(session, number)
        if new:
            self._mend(session, new)
        return len(new)

    def _mend(self, session: psycopg.Connection[Any], lanes: Sequence[int]) -> None:
        """Finish what a dead owner of these lanes may have left half done."""
        asked = {"destination": self.destination.name, "lanes": list(lanes)}
        rows = session.execute(statement("outbox", "settled_heads"), asked).fetchall()
        if rows:
            with session.transaction():
                let_go(session, self.destination.name, [row[0] for row in rows])
        if self._marked:
            # The database was lost and no process: this one.
            settlement.take_back(session, self.leases, self._marked)
            self._marked.clear()
        self._due_at = 0.0

    def _round(self, session: psycopg.Connection[Any]) -> int:
        """Send one batch; returns how many events were moved on in any way."""
        lanes = self.leases.lanes
        if not lanes or not self.leases.may_send() or self.breaker.left(self._clock()):
            return 0
        self._wake_heads(session, lanes)
        batch = self._fetch(session, lanes, only_one=self.breaker.is_probing)
        moved = 0
        if batch.behind:
            moved += session.execute(
                statement("outbox", "hold_behind"),
                {"ids": batch.behind, "keys": list(batch.keys)},
            ).rowcount
        if batch.crashes:
            moved += self._carefully(session, batch)
        else:
            moved += self._together(session, batch, batch.events)
        return moved

    def _together(
        self, session: psycopg.Connection[Any], batch: Batch, events: Sequence[Event]
    ) -> int:
        """Send events at once; marked before, in lanes whose last owner died."""
        suspects = self.leases.suspects()
        doubtful = [event for event in events if lane_of(event.aggregate_id) in suspects]
        if doubtful:
            self._mark(session, doubtful)
        moved = self._deliver(session, batch, events, marked=bool(doubtful))
        if suspects:
            with_crashes = {
                lane_of(event.aggregate_id) for event in batch.events if event.id in batch.crashes
            }
            self.leases.cleared(suspects - with_crashes)
        return moved

    def _carefully(self, session: psycopg.Connection[Any], batch: Batch) -> int:
        """One of these events may have killed a process. The first event of an aggregate that has
        been with too many of them is given up; other such are sent alone, one after the other, and
        then what does not wait behind any of them."""
        keys = {event.key for event in batch.events if event.id in batch.crashes}
        first: dict[Any, Event] = {}
        for event in batch.events:
            if event.key in keys:
                first.setdefault(event.key, event)
        poison = {
            key: event
            for key, event in first.items()
            if batch.crashes.get(event.id, 0) >= MOST_CRASHES
        }
        if poison:
            failures = [
                settlement.crash_of(event, batch.crashes[event.id]) for event in poison.values()
            ]
            behind = [
                event
                for event in batch.events
                if event.key in poison and event is not poison[event.key]
            ]
            decision = Decision(failures=failures, behind=behind)
            self._write(session, batch, decision, marked=False)
            return len(poison)
        moved = 0
        for event in list(first.values())[:MOST_ALONE]:
            if self._stop.is_set() or not self._may_send(event):
                return moved
            self._mark(session, [event])
            moved += self._deliver(session, batch, [event], marked=True)
        if self.breaker.is_probing:
            return moved
        others = [event for event in batch.events if event.key not in keys]
        return moved + self._together(session, batch, others)

    def _may_send(self, event: Event) -> bool:
        return (
            not self.breaker.left(self._clock())
            and self.leases.may_send()
            and lane_of(event.aggregate_id) in self.leases.lanes
        )

    def _mark(self, session: psycopg.Connection[Any], events: Sequence[Event]) -> None:
        asked = {**self.leases.arguments(), "ids": [event.id for event in events]}
        session.execute(statement("outbox", "mark_started"), asked)
        self._marked = list(events)

    def _deliver(
        self,
        session: psycopg.Connection[Any],
        batch: Batch,
        events: Sequence[Event],
        *,
        marked: bool,
    ) -> int:
        if not events:
            return 0
        outcomes = send(self._publisher, events)
        decision = settlement.decide(events, outcomes, self.destination, self._rng)
        if decision.down is not None:
            self._tell_down(decision.down)
        elif decision.delivered or decision.failures:
            self.breaker.up()
        self._write(session, batch, decision, marked=marked)
        return len(decision.delivered) + len(decision.failures)

    def _write(
        self, session: psycopg.Connection[Any], batch: Batch, decision: Decision, *, marked: bool
    ) -> None:
        lost = settlement.write(
            session, self.leases, decision, self.destination, heads=batch.heads, marked=marked
        )
        self._marked.clear()
        if lost:
            logger.warning(
                "relay lost lanes to others destination=%s lanes=%s",
                self.destination.name,
                sorted(lost),
            )
            self.leases.forget(lost)
        again = [one.again_in for one in decision.failures if one.again_in is not None]
        if again:
            self._due_at = min(self._due_at, self._clock() + min(again))
        if self._observe is not None:
            self._observe(decision)
        self.counts.add(decision)

    def _tell_down(self, outcome: Outcome) -> None:
        error = storable(f"{outcome.code}: {outcome.message}")
        if not self.breaker.is_probing:
            logger.warning(
                "destination is down, nothing is lost destination=%s error=%s",
                self.destination.name,
                error,
            )
        self.breaker.down(self._clock(), error, outcome.pause)

    def _wake_heads(self, session: psycopg.Connection[Any], lanes: Sequence[int]) -> None:
        """Let go what was rejected and whose time has come."""
        if self._clock() < self._due_at:
            return
        asked = {"destination": self.destination.name, "lanes": list(lanes)}
        session.execute(statement("outbox", "wake_heads"), asked)
        row = session.execute(statement("outbox", "next_due"), asked).fetchone()
        seconds = row[0] if row else None
        self._due_at = self._clock() + seconds if seconds is not None else float("inf")

    def _rest(self, session: psycopg.Connection[Any], bell: Bell) -> None:
        """Nothing to do: sleep until somebody rings, or it is time to look again."""
        left = self.breaker.left(self._clock())
        if left:
            self._stop.wait(min(left, LONGEST_POLL))
            return
        bell.close_gates(self.leases.lanes)
        if self._round(session):
            self._pace.found()
            bell.open_gates()
            return
        until_due = max(self._due_at - self._clock(), 0.0)
        bell.wait(min(self._pace.nothing(), max(until_due, SHORTEST_POLL)), until=self._stop.is_set)
