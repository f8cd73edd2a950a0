"""The states of events and of troubled keys, and the actions on dead letters: one list each.

Migrations spell the same values out, and a test compares them. Pure: no Django, no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class EventStatus(StrEnum):
    """Where an event is on its way out."""

    PENDING = "PENDING"  # waits for its relay, a retry time or the release of its key
    PUBLISHED = "PUBLISHED"
    FAILED = "FAILED"  # given up: its dead letter is what a person works with


EVENT_TRANSITIONS: Mapping[EventStatus, frozenset[EventStatus]] = {
    EventStatus.PENDING: frozenset({EventStatus.PUBLISHED, EventStatus.FAILED}),
    EventStatus.PUBLISHED: frozenset(),
    EventStatus.FAILED: frozenset({EventStatus.PENDING}),  # requeued from its dead letter
}


class KeyState(StrEnum):
    """Why the events of one aggregate are held back."""

    BACKOFF = "BACKOFF"  # its first event failed and waits for its retry time
    PARKED = "PARKED"  # its first event is dead: the others wait until that is dealt with


KEY_TRANSITIONS: Mapping[KeyState, frozenset[KeyState]] = {
    KeyState.BACKOFF: frozenset({KeyState.PARKED}),
    KeyState.PARKED: frozenset({KeyState.BACKOFF}),  # requeued, and failed again
}


class BreakerState(StrEnum):
    """Whether a relay sends to its destination."""

    CLOSED = "CLOSED"  # it does
    OPEN = "OPEN"  # the transport is down: it waits, and then tries one event


BREAKER_TRANSITIONS: Mapping[BreakerState, frozenset[BreakerState]] = {
    BreakerState.CLOSED: frozenset({BreakerState.OPEN}),
    BreakerState.OPEN: frozenset({BreakerState.CLOSED}),
}


class DeadLetterAction(StrEnum):
    """What happened to a dead letter, and what a person did with it."""

    DIED = "DIED"
    REQUEUED = "REQUEUED"
    RESOLVED = "RESOLVED"
    DISCARDED = "DISCARDED"
    RESTORED = "RESTORED"
    RESENT = "RESENT"  # a changed copy was published under an id of its own


class DeadLetterState(StrEnum):
    """Where a dead letter stands. No column: it follows from ``resolved_at`` and the newest action
    that closed it."""

    OPEN = "OPEN"  # waits for a person
    REQUEUED = "REQUEUED"  # its event was sent on its way again
    RESOLVED = "RESOLVED"  # what it tells of was brought about by other means
    DISCARDED = "DISCARDED"  # nobody needs to know any more
    RESENT = "RESENT"  # a changed copy took its place


DEAD_LETTER_TRANSITIONS: Mapping[DeadLetterState, frozenset[DeadLetterState]] = {
    DeadLetterState.OPEN: frozenset(
        {
            DeadLetterState.REQUEUED,
            DeadLetterState.RESOLVED,
            DeadLetterState.DISCARDED,
            DeadLetterState.RESENT,
        }
    ),
    DeadLetterState.REQUEUED: frozenset({DeadLetterState.OPEN}),  # the event died again
    DeadLetterState.RESOLVED: frozenset({DeadLetterState.OPEN}),  # restored
    DeadLetterState.DISCARDED: frozenset({DeadLetterState.OPEN}),  # restored
    DeadLetterState.RESENT: frozenset(),
}
