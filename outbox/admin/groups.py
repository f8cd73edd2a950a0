"""Open dead letters by what they have in common: what failed in the same way is decided at once."""

from __future__ import annotations

from urllib.parse import urlencode

from hodei.admin.rendering import (
    ago,
    beside,
    button,
    clipped,
    first_line,
    link,
    list_link,
    table,
)
from outbox.services import dead_letters
from outbox.services.dead_letters import DeadLetterStats, Failures

#: Where an action about all that match begins, by its name: label and address, without a filter.
Sweeps = list[tuple[str, str]]


def about(stats: DeadLetterStats) -> str:
    """How many are open, in words."""
    if not stats.open:
        return "No dead letter is open."
    most = f"More than {stats.open:,} are open; the newest of them are counted"
    number = most if stats.is_capped else f"{stats.open:,} are open, counted"
    return f"{number} by how they failed. The largest groups come first."


def panel(stats: DeadLetterStats, sweeps: Sweeps) -> str:
    """One row for each fingerprint."""
    rows = [
        (
            first_line(one.error),
            _count(one),
            clipped(one.event_type),
            clipped(one.destination, 16),
            ago(one.first_at),
            link("outbox_deadletter", one.letter_id, ago(one.last_at)),
            *([beside(_buttons(one, sweeps))] if sweeps else []),
        )
        for one in stats.by_fingerprint
    ]
    heads = ["Error", "Open", "Event type", "Destination", "First", "Newest"]
    return table("Open dead letters by failure", heads + (["Decide"] if sweeps else []), rows)


def read(using: str) -> DeadLetterStats:
    """What is open."""
    return dead_letters.stats(using=using)


def _count(one: Failures) -> str:
    if one.key is None:
        return f"{one.count:,}"
    return list_link("outbox_deadletter", f"{one.count:,}", fingerprint=one.key, state="open")


def _buttons(one: Failures, sweeps: Sweeps) -> list[str]:
    if one.key is None:
        return []
    back = urlencode({"fingerprint": one.key, "state": "open"})
    query = urlencode({"all": 1, "back": back})
    return [button(f"{begin}?{query}", label) for label, begin in sweeps]
