"""How much waits in the outbox, for how long, and why.

JSON (``--format json``), one object whose keys stay: docs/reference/outbox_stats.md lists them.

Exit codes: 0 printed, whatever it says; 2 misuse or configuration; 3 the database could not be
read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from hodei.redaction import redact_text
from hodei.schema.management.reports import FINE, MISUSE, ReportCommand
from hodei.schema.tables import render
from hodei.values import printable
from hodei.wording import (
    age,
    counted,
    iso,
    moment,
    one_line,
    short_age,
)
from outbox.keys import LANES
from outbox.services.dead_letters import Failures
from outbox.services.inspection import (
    DestinationState,
    RelayState,
    Statistics,
    statistics,
)

FORMAT_VERSION = 1


class Command(ReportCommand):
    help = (
        "Show what waits in the outbox: how many events and for how long, how fast they are "
        "delivered, for each destination how far it is behind, who delivers to it and whether it "
        "answers, which aggregates are held back, and the open dead letters by what went wrong. "
        "Reads only, and costs little however many events were published. Exit codes: 0 printed, "
        "2 misuse or wrong settings, 3 the database could not be read."
    )

    def report(self, **options: Any) -> int:
        database: str = options["database"]
        try:
            found = statistics(using=database)
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        if options["format"] == "json":
            self.print_json(document(database, found))
            return FINE
        style = self.colours(**options)
        for line in lines(database, found):
            self.stdout.write(printable(line))
        for line in concerns(found):
            self.stdout.write(style.WARNING(f"! {printable(line)}"))
        return FINE


def lines(database: str, found: Statistics) -> Iterator[str]:
    """The table."""
    letters = found.dead_letters
    yield f"Outbox of database {database!r} at {moment(found.taken_at)} UTC"
    yield (
        f"pending       {found.pending} ({found.ready} may be sent, {found.held} held back)"
        f"{_oldest(found.oldest_pending_seconds)}"
    )
    yield f"published     {found.published_per_second:,.1f} a second, in the last minute"
    number = f"{letters.open:,}{'+' if letters.is_capped else ''}"
    yield f"dead letters  {number} open{_oldest(letters.oldest_seconds)}"
    yield ""
    yield from render(
        ["destination", "lag", "lanes", "relays", "breaker", "retrying", "parked"],
        [_destination(one) for one in found.destinations],
    )
    relays = [(one.name, relay) for one in found.destinations for relay in one.relays]
    if relays:
        yield ""
        yield from render(
            ["relay", "destination", "lanes", "seen", "wakes by", "since (UTC)"],
            [_relay(name, relay) for name, relay in relays],
        )
    if letters.by_fingerprint:
        yield ""
        yield from render(
            ["failure", "open", "first", "last", "class", "event type", "error of the newest"],
            [_failures(one, found.taken_at) for one in letters.by_fingerprint],
        )


def concerns(found: Statistics) -> Iterator[str]:
    """Pure: what somebody should look at, and what to type."""
    for one in found.destinations:
        if one.lag_seconds is not None and not one.alive:
            yield (
                f"Nobody delivers to {one.name}: start outbox_relay."
                if one.is_known
                else f"HODEI_OUTBOX has no destination {one.name}, and events wait for it: "
                "name it there again."
            )
        for relay in one.alive:
            if relay.breaker_error is not None:
                yield f"{one.name} is down for {relay.owner}: {one_line(relay.breaker_error)}"
        if one.parked:
            verb = "waits" if one.parked == 1 else "wait"
            yield (
                f"{counted(one.parked, 'aggregate')} of {one.name} {verb} behind dead letters: "
                "outbox_dlq list --destination " + one.name
            )


def _oldest(seconds: float | None) -> str:
    return "" if seconds is None else f", the oldest for {age(seconds)}"


def _destination(one: DestinationState) -> Sequence[str]:
    return (
        one.name,
        age(one.lag_seconds),
        f"{one.leased} of {LANES}",
        str(len(one.alive)),
        one.breaker.lower() if one.breaker else "-",
        f"{one.in_backoff:,}",
        f"{one.parked:,}",
    )


def _relay(name: str, relay: RelayState) -> Sequence[str]:
    seen = f"{age(relay.seen_seconds_ago)} ago"
    return (
        relay.owner,
        name,
        str(len(relay.lanes)),
        seen if relay.is_alive else f"{seen}, dead",
        relay.wakes_by,
        moment(relay.started_at),
    )


def _failures(one: Failures, now: datetime) -> Sequence[str]:
    return (
        (one.key or "-")[:8],
        f"{one.count:,}",
        short_age((now - one.first_at).total_seconds()),
        short_age((now - one.last_at).total_seconds()),
        one.error_class or "-",
        one.event_type,
        one_line(one.error) or "-",
    )


def document(database: str, found: Statistics) -> dict[str, object]:
    """The JSON report."""
    letters = found.dead_letters
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "taken_at": iso(found.taken_at),
        "pending": found.pending.number,
        "ready": found.ready.number,
        "held": found.held.number,
        "is_capped": found.pending.is_capped,
        "oldest_pending_at": iso(found.oldest_pending_at),
        "oldest_pending_seconds": found.oldest_pending_seconds,
        "published_per_second": found.published_per_second,
        "destinations": [_destination_document(one) for one in found.destinations],
        "dead_letters": {
            "open": letters.open,
            "is_capped": letters.is_capped,
            "oldest_at": iso(letters.oldest_at),
            "oldest_seconds": letters.oldest_seconds,
            "by_class": [_failures_document(one, "error_class") for one in letters.by_class],
            "by_fingerprint": [
                {**_failures_document(one, "fingerprint"), "error_class": one.error_class}
                for one in letters.by_fingerprint
            ],
        },
        "concerns": list(concerns(found)),
    }


def _destination_document(one: DestinationState) -> dict[str, object]:
    return {
        "name": one.name,
        "lag_seconds": one.lag_seconds,
        "breaker": one.breaker and one.breaker.value,
        "in_backoff": one.in_backoff,
        "parked": one.parked,
        "lanes": [
            {"lane": lane.lane, "owner": lane.owner, "lag_seconds": lane.lag_seconds}
            for lane in one.lanes
        ],
        "relays": [
            {
                "owner": relay.owner,
                "is_alive": relay.is_alive,
                "started_at": iso(relay.started_at),
                "seen_seconds_ago": relay.seen_seconds_ago,
                "wakes_by": relay.wakes_by,
                "breaker": relay.breaker.value,
                "breaker_since": iso(relay.breaker_since),
                "breaker_error": relay.breaker_error and redact_text(relay.breaker_error),
                "lanes": list(relay.lanes),
            }
            for relay in one.relays
        ],
    }


def _failures_document(one: Failures, key: str) -> dict[str, object]:
    return {
        key: one.key,
        "count": one.count,
        "first_at": iso(one.first_at),
        "last_at": iso(one.last_at),
        "newest": str(one.letter_id),
        "event_type": one.event_type,
        "destination": one.destination,
        "error": redact_text(one.error),
    }
