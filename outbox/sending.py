"""Hands a batch to a publisher, whatever that does with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hodei.values import said
from outbox.outcomes import HELD, RAISED, Kind, Outcome, is_outcome, rejected

if TYPE_CHECKING:
    from outbox.events import Event
    from outbox.publishers import Publisher

logger = logging.getLogger(__name__)


def send(publisher: Publisher, events: Sequence[Event]) -> Sequence[Outcome]:
    """What the publisher says became of each event. One that raises, which it must not, is tried
    again with each event by itself, so that one event cannot hold up the others."""
    try:
        return _told(publisher.send_batch(events), len(events))
    except RAISED as error:
        logger.exception("publisher failed publisher=%s", type(publisher).__name__)
        if len(events) == 1:
            return [rejected(type(error).__name__, said(error))]
    found: list[Outcome] = []
    stumbled: set[Any] = set()
    for event in events:
        outcome = HELD if event.key in stumbled else send(publisher, [event])[0]
        if outcome.kind is not Kind.DELIVERED:
            stumbled.add(event.key)
        found.append(outcome)
    return found


def _told(outcomes: Sequence[Outcome], number: int) -> Sequence[Outcome]:
    """What a publisher has returned, if it is what it should be. Raises RuntimeError."""
    if len(outcomes) != number:
        raise RuntimeError(f"send_batch returned {len(outcomes)} outcomes for {number} events")
    for one in outcomes:
        if not is_outcome(one):
            raise RuntimeError(f"send_batch returned {one!r:.80}, which is no Outcome")
    return outcomes
