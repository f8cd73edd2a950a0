"""What the outbox tells on the overview, and what in it waits for a person."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Left, Now

from hodei.admin.parts import (
    SHOWN,
    Case,
    Chart,
    Figure,
    Found,
    Kind,
    Panel,
    Part,
    count_of,
    register,
    using_of,
)
from hodei.admin.rendering import first_line, page_of
from hodei.wording import age, short_id
from outbox.lanes import LEASE_SECONDS
from outbox.models import DeadLetter, Relay, TroubledKey
from outbox.services.inspection import MOST_COUNTED, Pulse, read_pulse, together
from outbox.services.throughput import published_by_minute
from outbox.states import BreakerState, KeyState

OPEN = {"state": "open"}


def panel() -> Panel:
    """What waits, who delivers, what died; the last hour."""
    using = using_of("outbox.Event")
    found = read_pulse(using=using)
    return Panel(
        title="Outbox",
        figures=figures(found),
        charts=[
            Chart(
                title="Events delivered, by minute",
                model="outbox.Event",
                series={"delivered": "good"},
                minutes=published_by_minute(using=using),
            )
        ],
    )


def figures(found: Pulse) -> list[Figure]:
    """Pure: the numbers, and what each asks of a person."""
    nobody = found.ready.number > 0 and not found.alive
    down = sorted({relay.owner for relay in found.unreachable})
    return [
        Figure(
            label="Events pending",
            value=str(found.pending),
            model="outbox.Event",
            query={"status": "PENDING"},
            tone="wait" if found.pending.number else "good",
            remark=_pending(found),
        ),
        Figure(
            label="Delivered a second",
            value=f"{found.published_per_second:,.1f}",
            model="outbox.Event",
            query={"status": "PUBLISHED"},
            remark="in the last minute",
        ),
        Figure(
            label="Relays alive",
            value=f"{len(found.alive):,}",
            model="outbox.Relay",
            tone="bad" if nobody or down else "good" if found.alive else "quiet",
            remark="nobody delivers what waits: start outbox_relay"
            if nobody
            else f"{len(down):,} cannot reach their destination"
            if down
            else "",
        ),
        Figure(
            label="Aggregates held back",
            value=str(together(found.parked, found.in_backoff)),
            model="outbox.TroubledKey",
            tone="bad" if found.parked.number else "wait" if found.in_backoff.number else "good",
            remark=f"{found.parked} behind dead letters" if found.parked.number else "",
        ),
        Figure(
            label="Dead letters open",
            value=str(found.dead_letters),
            model="outbox.DeadLetter",
            query=OPEN,
            tone="bad" if found.dead_letters.number else "good",
            remark=_oldest(found.oldest_letter_seconds),
        ),
    ]


def open_letters() -> Found:
    """Dead letters with which nobody has dealt, the oldest first, by idx_dlq_status."""
    rows = DeadLetter.objects.filter(resolved_at__isnull=True)
    first = rows.order_by("moved_at", "pk").annotate(start=Left("error_message", 400))
    cases = [
        Case(
            name=kind,
            address=page_of("outbox_deadletter", key),
            why=first_line(error),
            since=since,
        )
        for key, kind, error, since in first.values_list("pk", "event_type", "start", "moved_at")[
            :SHOWN
        ]
    ]
    return Found(cases, count_of(rows))


def parked() -> Found:
    """Aggregates that wait behind dead letters, the longest first: among the MOST_COUNTED of all
    that are held back whose trouble began first. No index has what is parked."""
    first = TroubledKey.objects.order_by("pk")[:MOST_COUNTED]
    rows = TroubledKey.objects.filter(
        pk__in=first.values("pk"), state=KeyState.PARKED.value
    ).order_by("pk")
    cases = [
        Case(
            name=f"{key.aggregate_type} {short_id(key.aggregate_id)}",
            address=page_of("outbox_troubledkey", key.pk),
            why=f"Its events to {key.destination} wait behind a dead letter.",
            since=key.since,
        )
        for key in rows[:SHOWN]
    ]
    return Found(cases, count_of(rows))


def unreachable() -> Found:
    """Relays at work whose destination does not answer, the longest first; there are few."""
    rows = Relay.objects.filter(
        breaker=BreakerState.OPEN.value, seen_at__gt=Now() - timedelta(seconds=LEASE_SECONDS)
    )
    cases = [
        Case(
            name=f"{relay.destination}, for {relay.owner}",
            address=page_of("outbox_relay", relay.pk),
            why=first_line(relay.breaker_error),
            since=relay.breaker_since,
        )
        for relay in rows.order_by("breaker_since", "pk")[:SHOWN]
    ]
    return Found(cases, count_of(rows))


def _pending(found: Pulse) -> str:
    held = f"{found.held} held back" if found.held.number else ""
    return ", ".join(filter(None, (_oldest(found.oldest_pending_seconds), held)))


def _oldest(seconds: float | None) -> str:
    return "" if seconds is None else f"the oldest for {age(seconds)}"


register(
    Part(
        app="outbox",
        title="Outbox",
        place=2,
        models=("outbox.Event", "outbox.Relay", "outbox.TroubledKey", "outbox.DeadLetter"),
        panel=panel,
        kinds=(
            Kind(
                title="Destinations that do not answer",
                advice="Nothing is sent to them until they do; nothing is lost meanwhile.",
                model="outbox.Relay",
                read=unreachable,
            ),
            Kind(
                title="Dead letters",
                advice="Find out why, then requeue, resolve or discard each.",
                model="outbox.DeadLetter",
                query=OPEN,
                read=open_letters,
            ),
            Kind(
                title="Aggregates held back",
                advice="They go on when their dead letter is dealt with.",
                model="outbox.TroubledKey",
                query={"state__exact": KeyState.PARKED.value},
                read=parked,
                tone="wait",
            ),
        ),
    )
)
