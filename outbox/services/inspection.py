"""How much waits, for how long, and why. Costs what waits, whatever was published before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections

from hodei.sql import statement
from outbox.conf import outbox_settings
from outbox.lanes import LEASE_SECONDS
from outbox.services import dead_letters
from outbox.services.dead_letters import DeadLetterStats
from outbox.states import BreakerState, KeyState

#: Counting stops here.
MOST_COUNTED = 10_000


class Count(NamedTuple):
    """A number, or that there are more than so many."""

    number: int
    is_capped: bool

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.is_capped else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """A share of one destination's events."""

    lane: int
    #: The relay that has leased it; None where nobody has.
    owner: str | None
    #: Age of the event that is next; None where nothing waits.
    lag_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayState:
    """A relay that has given a sign of life in the last minutes."""

    owner: str
    started_at: datetime
    seen_seconds_ago: float
    is_alive: bool
    #: ``notify``, or ``polling`` behind a pooler.
    wakes_by: str
    breaker: BreakerState
    breaker_since: datetime | None
    breaker_error: str | None
    lanes: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationState:
    """Where events go, and what keeps them from going there."""

    name: str
    lanes: Sequence[LaneState]
    relays: Sequence[RelayState]
    #: Aggregates whose next event waits for its retry time, or is dead.
    in_backoff: int
    parked: int
    #: Whether HODEI_OUTBOX has it; one that was renamed or taken out may still have events.
    is_known: bool = True

    @property
    def lag_seconds(self) -> float | None:
        """Of the lane that is furthest behind; None where nothing can be sent."""
        return max(
            (lane.lag_seconds for lane in self.lanes if lane.lag_seconds is not None), default=None
        )

    @property
    def leased(self) -> int:
        """How many of its lanes somebody delivers from."""
        return sum(1 for lane in self.lanes if lane.owner is not None)

    @property
    def alive(self) -> Sequence[RelayState]:
        return [relay for relay in self.relays if relay.is_alive]

    @property
    def breaker(self) -> BreakerState | None:
        """OPEN where any relay cannot reach it; None where no relay is there to tell."""
        states = {relay.breaker for relay in self.alive}
        return BreakerState.OPEN if BreakerState.OPEN in states else next(iter(states), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The outbox at one moment, by the server's clock."""

    taken_at: datetime
    #: Events that may be sent now, and such as wait behind what their aggregate stumbled over.
    ready: Count
    held: Count
    #: Of both kinds.
    oldest_pending_at: datetime | None
    oldest_pending_seconds: float | None
    #: In the last minute; where there were more than MOST_COUNTED, while the newest so many were.
    published_per_second: float
    destinations: Sequence[DestinationState]
    dead_letters: DeadLetterStats

    @property
    def pending(self) -> Count:
        return together(self.ready, self.held)


def statistics(*, using: str = DEFAULT_DB_ALIAS) -> Statistics:
    """Look once: seven short statements, each with its own view of the tables.

    Raises ImproperlyConfigured, since the destinations of HODEI_OUTBOX belong to what is told.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(statement("outbox", "count_pending"), {"cap": MOST_COUNTED})
        now, ready, held, oldest_at, oldest_seconds, newest, newest_seconds = cursor.fetchone()
        destinations = _destinations(cursor)
    return Statistics(
        taken_at=now,
        ready=_capped(ready),
        held=_capped(held),
        oldest_pending_at=oldest_at,
        oldest_pending_seconds=oldest_seconds,
        published_per_second=rate(newest, newest_seconds),
        destinations=destinations,
        dead_letters=dead_letters.stats(using=using),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What tells at a glance whether events are delivered."""

    ready: Count
    held: Count
    oldest_pending_seconds: float | None
    published_per_second: float
    relays: Sequence[RelayState]
    #: Among the MOST_COUNTED aggregates that have been held back longest.
    parked: Count
    in_backoff: Count
    dead_letters: Count
    oldest_letter_seconds: float | None

    @property
    def pending(self) -> Count:
        return together(self.ready, self.held)

    @property
    def alive(self) -> Sequence[RelayState]:
        return [relay for relay in self.relays if relay.is_alive]

    @property
    def unreachable(self) -> Sequence[RelayState]:
        """Relays at work whose destination does not answer."""
        return [relay for relay in self.alive if relay.breaker is BreakerState.OPEN]


def read_pulse(*, using: str = DEFAULT_DB_ALIAS) -> Pulse:
    """Look once, without the lanes and the groups of failures: four short statements, none of which
    reads more than MOST_COUNTED rows of a kind. Asks no settings."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement("outbox", "count_pending"), {"cap": MOST_COUNTED})
        _now, ready, held, _at, oldest, newest, newest_seconds = cursor.fetchone()
        cursor.execute(statement("outbox", "relays_at_work"))
        relays = [_relay(row, ()) for row in cursor.fetchall()]
        cursor.execute(statement("outbox", "count_first_keys"), {"cap": MOST_COUNTED})
        parked, in_backoff = cursor.fetchone()
        cursor.execute(statement("outbox", "count_letters"), {"grouped": MOST_COUNTED})
        letters, _oldest_at, letter_seconds = cursor.fetchone()
    is_capped = parked + in_backoff > MOST_COUNTED
    return Pulse(
        ready=_capped(ready),
        held=_capped(held),
        oldest_pending_seconds=oldest,
        published_per_second=rate(newest, newest_seconds),
        relays=relays,
        parked=Count(parked, is_capped),
        in_backoff=Count(in_backoff, is_capped),
        dead_letters=_capped(letters),
        oldest_letter_seconds=letter_seconds,
    )


def rate(number: int, seconds: float | None) -> float:
    """Pure: events a second, where so many of the last minute were found, the first so long ago."""
    if number < MOST_COUNTED or not seconds:
        return number / 60
    return number / seconds


def together(*counts: Count) -> Count:
    """Pure: their sum, which ends at MOST_COUNTED as each of them does."""
    number = sum(one.number for one in counts)
    return Count(
        min(number, MOST_COUNTED), any(one.is_capped for one in counts) or number > MOST_COUNTED
    )


def _destinations(cursor: Any) -> list[DestinationState]:
    known = outbox_settings().destinations
    cursor.execute(statement("outbox", "lane_lag"), {"known": sorted(known)})
    lanes: defaultdict[str, list[LaneState]] = defaultdict(list)
    for destination, lane, owner, lag in cursor.fetchall():
        lanes[destination].append(LaneState(lane=lane, owner=owner, lag_seconds=lag))
    cursor.execute(statement("outbox", "count_keys"))
    keys = {(destination, state): number for destination, state, number in cursor.fetchall()}
    cursor.execute(statement("outbox", "relays_at_work"))
    relays: defaultdict[str, list[RelayState]] = defaultdict(list)
    for row in cursor.fetchall():
        relays[row[0]].append(_relay(row, lanes[row[0]]))
    return [
        DestinationState(
            name=name,
            lanes=lanes[name],
            relays=relays[name],
            in_backoff=keys.get((name, KeyState.BACKOFF.value), 0),
            parked=keys.get((name, KeyState.PARKED.value), 0),
            is_known=name in known,
        )
        for name in sorted({*lanes, *relays, *(name for name, _state in keys)})
    ]


def _relay(row: Sequence[Any], lanes: Sequence[LaneState]) -> RelayState:
    _destination, owner, started_at, wakes_by, breaker, since, error, seen = row
    return RelayState(
        owner=owner,
        started_at=started_at,
        seen_seconds_ago=max(seen, 0.0),
        is_alive=seen < LEASE_SECONDS,
        wakes_by=wakes_by,
        breaker=BreakerState(breaker),
        breaker_since=since,
        breaker_error=error,
        lanes=[lane.lane for lane in lanes if lane.owner == owner],
    )


def _capped(number: int) -> Count:
    return Count(min(number, MOST_COUNTED), number > MOST_COUNTED)
