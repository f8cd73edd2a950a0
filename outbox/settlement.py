"""What becomes of the events of a batch: decided from their outcomes, and written down.

Everything is written under the fences of the relay's leases. What was delivered is one statement;
what failed is one transaction, with the followers that have to wait.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from hodei.backoff import Backoff
from hodei.sql import statement
from outbox.conf import PARK, Destination
from outbox.events import Event
from outbox.fingerprint import fingerprint, storable
from outbox.held import let_go
from outbox.keys import lane_of
from outbox.outcomes import Kind, Outcome

if TYPE_CHECKING:
    import psycopg

    from outbox.lanes import Leases

#: Between attempts at an event that is rejected.
RETRIES = Backoff(base=1.0, cap=600.0)
CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that was not taken, and what follows."""

    event: Event
    error_class: str
    message: str
    #: Seconds until the next attempt; None if it is given up.
    again_in: float | None
    #: Attempts that this failure has spent.
    spent: int = 1


@dataclass(slots=True)
class Decision:
    """What to write down of one batch."""

    delivered: list[Event] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    #: Followers of an event of ``failures``.
    behind: list[Event] = field(default_factory=list)
    #: Not sent, or not known to have arrived: the transport is down.
    unsent: list[Event] = field(default_factory=list)
    #: Of the transport, where it is down.
    down: Outcome | None = None


@dataclass(slots=True)
class Counts:
    """What a relay has done since it began."""

    delivered: int = 0
    #: Attempts that were rejected, and will be made again.
    retried: int = 0
    dead: int = 0
    batches: int = 0

    def add(self, decision: Decision) -> None:
        dead = sum(1 for failure in decision.failures if failure.again_in is None)
        self.batches += 1
        self.delivered += len(decision.delivered)
        self.retried += len(decision.failures) - dead
        self.dead += dead


def decide(
    events: Sequence[Event], outcomes: Sequence[Outcome], destination: Destination, rng: Random
) -> Decision:
    """Pure: sort a batch by what has to be done. ``outcomes`` are in the order of ``events``.

    A failure behind an event of its key that was not sent counts for nothing, though no publisher
    should have one: the aggregate waits behind the first.
    """
    decision = Decision()
    stumbled: set[tuple[str, uuid.UUID]] = set()
    unsent: set[tuple[str, uuid.UUID]] = set()
    for event, outcome in zip(events, outcomes, strict=True):
        if outcome.kind is Kind.DELIVERED:
            decision.delivered.append(event)
        elif outcome.kind is Kind.DOWN:
            decision.down = outcome
            decision.unsent.append(event)
            unsent.add(event.key)
        elif event.key in stumbled:
            decision.behind.append(event)
        elif outcome.kind is Kind.HELD or event.key in unsent:
            decision.unsent.append(event)
            unsent.add(event.key)
        else:
            stumbled.add(event.key)
            decision.failures.append(_failure(event, outcome, destination, rng))
    return decision


def crash_of(event: Event, crashes: int) -> Failure:
    """Pure: an event that has been with every process that died lately."""
    message = (
        f"Each of the last {crashes} processes that sent this event died before it could say how "
        "it went."
    )
    return Failure(event, CRASHED, message, again_in=None, spent=0)


def write(
    session: psycopg.Connection[Any],
    leases: Leases,
    decision: Decision,
    destination: Destination,
    *,
    heads: Sequence[uuid.UUID] = (),
    marked: bool = False,
) -> set[int]:
    """Write it down, and return the lanes that were found to be somebody else's.

    ``heads`` are events of the batch that aggregates wait behind; ``marked`` says that the events
    were marked as started. Owns its transactions on ``session``. An event that a person has dealt
    with meanwhile is left alone.
    """
    lost = acknowledge(session, leases, decision.delivered)
    first = set(heads)
    settled = [event for event in decision.delivered if event.id in first]
    if settled:
        with session.transaction():
            ours = _hold(session, leases, settled)
            let_go(session, destination.name, [one.id for one in settled if _lane(one) in ours])
    if decision.failures or (marked and decision.unsent):
        with session.transaction():
            lost |= _write_failures(session, leases, decision, destination, marked=marked)
    return lost


def take_back(session: psycopg.Connection[Any], leases: Leases, events: Sequence[Event]) -> None:
    """Take the mark of these events back: they are sent again, and nobody has died of them. Owns
    its transaction."""
    with session.transaction():
        ours = _hold(session, leases, events)
        ids = [event.id for event in events if _lane(event) in ours]
        session.execute(statement("outbox", "unmark"), {"ids": ids})


def acknowledge(
    session: psycopg.Connection[Any], leases: Leases, events: Sequence[Event]
) -> set[int]:
    """Write down that these were delivered; returns the lanes that are lost."""
    if not events:
        return set()
    lanes = {_lane(event) for event in events}
    rows = session.execute(
        statement("outbox", "acknowledge"),
        {**leases.arguments(lanes), "ids": [event.id for event in events]},
    ).fetchall()
    return lanes - {row[0] for row in rows}


def _failure(event: Event, outcome: Outcome, destination: Destination, rng: Random) -> Failure:
    code = storable(str(outcome.code or outcome.kind.value))[:255]
    message = storable(str(outcome.message or code))
    if outcome.kind is Kind.PERMANENT or event.attempt >= destination.max_attempts:
        return Failure(event, code, message, again_in=None)
    pause = max(RETRIES.pause(event.attempt, rng), outcome.pause)
    return Failure(event, code, message, again_in=pause)


def _write_failures(
    session: psycopg.Connection[Any],
    leases: Leases,
    decision: Decision,
    destination: Destination,
    *,
    marked: bool,
) -> set[int]:
    touched = [
        *(failure.event for failure in decision.failures),
        *decision.behind,
        *decision.unsent,
    ]
    ours = _hold(session, leases, touched)

    def mine(events: Sequence[Event]) -> list[Event]:
        return [event for event in events if _lane(event) in ours]

    failures = [one for one in decision.failures if _lane(one.event) in ours]
    retried = [one for one in failures if one.again_in is not None]
    if retried:
        session.execute(
            statement("outbox", "retry_later"),
            {**_told(retried, destination), "seconds": [one.again_in for one in retried]},
        )
    for spent in {one.spent for one in failures if one.again_in is None}:
        dead = [one for one in failures if one.again_in is None and one.spent == spent]
        _bury(session, dead, destination, leases.owner, spent)
    skipped = {
        one.event.key for one in failures if one.again_in is None and destination.on_death != PARK
    }
    behind = [event.id for event in mine(decision.behind) if event.key not in skipped]
    if behind:
        session.execute(statement("outbox", "hold_events"), {"ids": behind})
    if marked and decision.unsent:
        ids = [event.id for event in mine(decision.unsent)]
        session.execute(statement("outbox", "unmark"), {"ids": ids})
    return {_lane(event) for event in touched} - ours


def _hold(session: psycopg.Connection[Any], leases: Leases, events: Sequence[Event]) -> set[int]:
    """The lanes of these events that are still ours, and stay so until the transaction ends."""
    held = leases.arguments({_lane(event) for event in events})
    return {row[0] for row in session.execute(statement("outbox", "hold_lanes"), held).fetchall()}


def _lane(event: Event) -> int:
    return lane_of(event.aggregate_id)


def _bury(
    session: psycopg.Connection[Any],
    dead: Sequence[Failure],
    destination: Destination,
    owner: str,
    spent: int,
) -> None:
    rows = session.execute(
        statement("outbox", "bury"),
        {**_told(dead, destination), "actor": owner[:100], "spent": spent},
    ).fetchall()
    if not rows:
        return
    if destination.on_death != PARK:
        let_go(session, destination.name, [row[0] for row in rows])
        return
    session.execute(
        statement("outbox", "park_keys"),
        {
            "destination": destination.name,
            "ids": [row[0] for row in rows],
            "letters": [row[1] for row in rows],
            "lanes": [row[2] for row in rows],
            "types": [row[3] for row in rows],
            "aggregates": [row[4] for row in rows],
        },
    )


def _told(failures: Sequence[Failure], destination: Destination) -> dict[str, Any]:
    return {
        "ids": [one.event.id for one in failures],
        "errors": [one.message for one in failures],
        "classes": [one.error_class for one in failures],
        "fingerprints": [
            fingerprint(destination.name, one.event.event_type, one.error_class, one.message)
            for one in failures
        ],
    }
