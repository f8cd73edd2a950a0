"""Events on their way, what holds them back, and who has seen them."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from hodei.admin.filters import age_filter, leading_value_filter
from hodei.admin.listing import leading_values
from hodei.admin.readonly import (
    ReadOnlyAdmin,
    show_age,
    show_code,
    show_first_line,
    show_json,
    show_link,
    show_state,
    show_text,
    show_when,
)
from hodei.admin.rendering import (
    Tones,
    ago,
    clipped,
    code,
    lines,
    link,
    list_link,
)
from outbox.keys import aggregate_of
from outbox.models import DeadLetter, Event, InboxEntry, Lane, Relay, TroubledKey
from outbox.states import BreakerState, EventStatus, KeyState

EVENT_TONES: Tones = {
    EventStatus.PENDING: "wait",
    EventStatus.PUBLISHED: "good",
    EventStatus.FAILED: "bad",
}
BREAKER_TONES: Tones = {BreakerState.CLOSED: "good", BreakerState.OPEN: "bad"}

KEY_TONES: Tones = {KeyState.BACKOFF: "wait", KeyState.PARKED: "bad"}


def aggregate_of_row(row: Event | DeadLetter) -> str:
    """What a row of a list is about, by the caller's own key where there is one."""
    key = clipped(row.aggregate_key) if row.aggregate_key else code(row.aggregate_id, short=True)
    return format_html("{} {}", row.aggregate_type, key)


def of_aggregate(term: str) -> Q:
    """Rows of the aggregate that somebody looks for as ORDER/4711."""
    kind, slash, key = term.partition("/")
    try:
        wanted = aggregate_of(kind, key) if slash else None
    except ValueError:
        wanted = None
    if wanted is None:
        return Q(pk__in=[])
    return Q(aggregate_type=wanted.type, aggregate_id=wanted.id)


class StatusFilter(admin.SimpleListFilter):
    """By status, each through an index: the few failed events by their open dead letters."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The states that can be asked for."""
        return [
            (EventStatus.PENDING.value, "Pending"),
            (EventStatus.PUBLISHED.value, "Published"),
            (EventStatus.FAILED.value, "Failed, dead letter open"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that status."""
        if self.value() not in set(EventStatus):
            return queryset
        rows = queryset.filter(status=self.value())
        if self.value() == EventStatus.FAILED:
            letters = DeadLetter.objects.filter(resolved_at__isnull=True)
            rows = rows.filter(pk__in=letters.values("original_event_id"))
        return rows


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Events on their way out, newest first."""

    explanation = "What was published, and whether it was delivered."
    list_display = (
        *("event_type", "event_state", "age", "aggregate", "way", "tries", "first_error"),
    )
    list_filter = (StatusFilter, leading_value_filter("event_type", "event type"))
    search_fields = ("id", "aggregate_type/aggregate_id", "idempotency_key")
    search_help_text = (
        "Id of the event or its aggregate, an aggregate like ORDER/4711, or an idempotency key."
    )
    ordering = ("-seq",)
    linked_lookups = ("aggregate_type", "aggregate_id")
    list_cut = ("last_error",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("event_state", "event_type", "event_version", "dead_letter"),
                    *("created", "published", "next_attempt"),
                )
            },
        ),
        (
            "Delivery",
            {
                "fields": (
                    *("destination", "lane", "seq", "retry_count", "attempts_started"),
                    *("attempts_finished", "error_class", "error", "fingerprint_code"),
                )
            },
        ),
        (
            "About",
            {
                "fields": (
                    *("aggregate_type", "aggregate_code", "aggregate_key", "idempotency"),
                    "same_aggregate",
                )
            },
        ),
        ("Content", {"fields": ("payload_block", "metadata_block")}),
    )

    first_error = show_first_line("last_error", "Error")
    event_state = show_state("status", "Status", EVENT_TONES)
    age = show_age("created_at", "Written")
    created = show_when("created_at", "Written")
    published = show_when("published_at", "Published")
    next_attempt = show_when("next_attempt_at", "Next attempt")
    error = show_text("last_error", "Newest error")
    fingerprint_code = show_code("fingerprint", "Fingerprint")
    aggregate_code = show_code("aggregate_id", "Aggregate id")
    idempotency = show_code("idempotency_key", "Idempotency key")
    payload_block = show_json("payload", "Payload")
    metadata_block = show_json("metadata", "Metadata")

    def get_search_condition(self, rows: QuerySet[Any], term: str) -> Q:
        """Ids, keys, and an aggregate by its own key."""
        return super().get_search_condition(rows, term) | of_aggregate(term)

    @admin.display(description="Aggregate")
    def aggregate(self, row: Event) -> str:
        return aggregate_of_row(row)

    @admin.display(description="Destination, lane")
    def way(self, row: Event) -> str:
        return format_html("{}, {}", clipped(row.destination, 16), row.lane)

    @admin.display(description="Retries")
    def tries(self, row: Event) -> str:
        if row.next_attempt_at is None or row.status != EventStatus.PENDING:
            return str(row.retry_count)
        return format_html("{}, next {}", row.retry_count, ago(row.next_attempt_at))

    @admin.display(description="Dead letter")
    def dead_letter(self, row: Event) -> str:
        letters = DeadLetter.objects.filter(original_event_id=row.pk)
        return lines(link("outbox_deadletter", key) for key in letters.values_list("pk", flat=True))

    @admin.display(description="Its other events")
    def same_aggregate(self, row: Event) -> str:
        return list_link(
            "outbox_event",
            "Show them",
            aggregate_type=row.aggregate_type,
            aggregate_id=row.aggregate_id,
        )


@admin.register(TroubledKey)
class TroubledKeyAdmin(ReadOnlyAdmin):
    """Aggregates whose events wait, the newest trouble first."""

    explanation = "Aggregates whose events wait: for their next try, or behind a dead letter."
    list_display = ("aggregate", "key_state", "waiting", "retry", "destination", "lane")
    list_filter = ("state",)
    search_fields = ("aggregate_id",)
    search_help_text = "Id of the aggregate."
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": ("key_state", "since_when", "retry_when", "letter")}),
        (
            "Aggregate",
            {"fields": ("aggregate_type", "aggregate_id", "destination", "lane", "events")},
        ),
    )

    key_state = show_state("state", "State", KEY_TONES)
    waiting = show_age("since", "Held back")
    retry = show_age("retry_at", "Next attempt")
    since_when = show_when("since", "Held back since")
    retry_when = show_when("retry_at", "Next attempt")
    letter = show_link("dead_letter_id", "Dead letter", "outbox_deadletter")

    @admin.display(description="Aggregate")
    def aggregate(self, row: TroubledKey) -> str:
        return format_html("{} {}", row.aggregate_type, code(row.aggregate_id, short=True))

    @admin.display(description="Its events")
    def events(self, row: TroubledKey) -> str:
        same = {"aggregate_type": row.aggregate_type, "aggregate_id": row.aggregate_id}
        return list_link("outbox_event", "Show them", **same)

    def get_search_condition(self, rows: QuerySet[Any], term: str) -> Q:
        """The aggregate under any destination and type; both are few, and lead the index."""
        found = super().get_search_condition(rows, term)
        return found & Q(destination__in=leading_values(rows.model, "destination", rows.db))


@admin.register(Lane)
class LaneAdmin(ReadOnlyAdmin):
    """Which relay delivers what."""

    explanation = "Which relay delivers which share of the events of a destination."
    list_display = ("destination", "lane", "owner", "lease", "fence")
    list_filter = (leading_value_filter("destination", "destination"),)
    search_fields = ("destination",)
    search_help_text = "Name of the destination."
    ordering = ("destination", "lane")
    fieldsets = ((None, {"fields": ("destination", "lane", "owner", "lease_when", "fence")}),)

    lease = show_age("leased_until", "Lease ends")
    lease_when = show_when("leased_until", "Lease ends")


@admin.register(Relay)
class RelayAdmin(ReadOnlyAdmin):
    """Who delivers, and whether the destination answers."""

    explanation = (
        "Processes that deliver events (outbox_relay), and whether their destination answers."
    )
    list_display = ("owner", "destination", "breaker_state", "seen", "started", "wakes_by")
    list_filter = (leading_value_filter("destination", "destination"),)
    search_fields = ("destination",)
    search_help_text = "Name of the destination."
    ordering = ("destination", "owner")
    fieldsets = (
        (None, {"fields": ("owner", "destination", "wakes_by", "seen_when", "started_when")}),
        ("Breaker", {"fields": ("breaker_state", "breaker_when", "error")}),
    )

    breaker_state = show_state("breaker", "Breaker", BREAKER_TONES)
    breaker_when = show_when("breaker_since", "Open since")
    error = show_text("breaker_error", "Last error")
    seen = show_age("seen_at", "Last seen")
    seen_when = show_when("seen_at", "Last seen")
    started = show_age("started_at", "Started")
    started_when = show_when("started_at", "Started")


@admin.register(InboxEntry)
class InboxEntryAdmin(ReadOnlyAdmin):
    """What consumers have seen, newest first."""

    explanation = "Which consumer has seen which event, so that it acts on each once."
    list_display = ("event_id", "consumer", "age")
    list_filter = (leading_value_filter("consumer", "consumer"), age_filter("received_at", "seen"))
    search_fields = ("consumer/event_id",)
    search_help_text = "Id of the event, as it was received."
    ordering = ("-received_at",)
    fieldsets = ((None, {"fields": ("consumer", "event_link", "received")}),)

    age = show_age("received_at", "Seen")
    received = show_when("received_at", "Seen")

    @admin.display(description="Event")
    def event_link(self, row: InboxEntry) -> str:
        try:
            return link("outbox_event", uuid.UUID(row.event_id))
        except ValueError:  # an event of somebody else
            return code(row.event_id)
