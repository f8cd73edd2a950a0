"""Dead letters: what died, why, and what people did about it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html

from hodei.admin.filters import age_filter, leading_value_filter
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
    PANEL_LIMIT,
    Tones,
    badge,
    code,
    first_line,
    json_columns,
    json_of,
    link,
    list_link,
    table,
    when,
)
from outbox.admin.events import EVENT_TONES, KEY_TONES
from outbox.models import DeadLetter, DeadLetterActionRecord, Event, TroubledKey
from outbox.states import DeadLetterAction

ACTION_TONES: Tones = {
    DeadLetterAction.DIED: "bad",
    DeadLetterAction.REQUEUED: "busy",
    DeadLetterAction.RESOLVED: "good",
    DeadLetterAction.RESENT: "good",
}

LETTER_TONES: Tones = {**ACTION_TONES, "OPEN": "bad"}

#: Counting the others of an aggregate or a fingerprint stops here.
OTHERS_LIMIT = 100


class OpenFilter(admin.SimpleListFilter):
    """Whether somebody has dealt with the dead letter."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Both sides."""
        return [("open", "Open"), ("resolved", "Dealt with")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that side."""
        if self.value() in {"open", "resolved"}:
            return queryset.filter(resolved_at__isnull=self.value() == "open")
        return queryset


def with_newest_action(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Dead letters with the newest thing that was done, by the index of the actions."""
    actions = DeadLetterActionRecord.objects.filter(dead_letter_id=OuterRef("pk"))
    newest = actions.order_by("-id").values("action")[:1]
    shown: QuerySet[Any] = rows.annotate(newest_action=Subquery(newest))
    return shown


def others(rows: QuerySet[Any]) -> str:
    """How many rows there are, as words, counted no further than OTHERS_LIMIT."""
    count = rows.order_by().values("pk")[: OTHERS_LIMIT + 1].count()
    if count > OTHERS_LIMIT:
        return f"more than {OTHERS_LIMIT} others"
    return {0: "none", 1: "1 other"}.get(count, f"{count} others")


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Events that were given up: what died, why, and what people did about it."""

    list_display = (
        *("event_type", "letter_state", "aggregate", "first_error", "retry_count"),
        *("died", "destination"),
    )
    list_filter = (
        OpenFilter,
        age_filter("moved_at", "died"),
        leading_value_filter("event_type", "event type"),
        leading_value_filter("aggregate_type", "aggregate type"),
    )
    search_fields = ("id", "original_event_id", "aggregate_type/aggregate_id")
    search_help_text = "Id of the dead letter, its event or its aggregate, or an open fingerprint."
    ordering = ("-moved_at",)
    sortable_by = ("died",)
    linked_lookups = ("aggregate_type", "aggregate_id", "fingerprint")
    list_cut = ("error_message",)
    panels = {"Actions": "outbox.view_deadletteractionrecord"}
    fieldsets = (
        (None, {"fields": ("letter_state", "error", "error_class", "moved", "retry_count")}),
        ("Dealt with", {"fields": ("resolved", "resolved_by", "resolution_notes")}),
        ("Actions", {"fields": ("actions_panel",), "classes": ("hodei-wide",)}),
        ("Belongs to", {"fields": ("event", "key", "same_aggregate", "same_failure")}),
        (
            "Envelope",
            {
                "fields": (
                    *("event_type", "event_version", "aggregate_type", "aggregate_code"),
                    *("aggregate_key", "seq", "destination", "idempotency", "born"),
                )
            },
        ),
        ("Content", {"fields": ("payload_block", "metadata_block")}),
    )

    first_error = show_first_line("error_message", "Error")
    died = show_age("moved_at", "Died")
    moved = show_when("moved_at", "Died")
    born = show_when("original_created_at", "Event written")
    resolved = show_when("resolved_at", "When")
    error = show_text("error_message", "Error")
    aggregate_code = show_code("aggregate_id", "Aggregate id")
    idempotency = show_code("idempotency_key", "Idempotency key")
    payload_block = show_json("payload", "Payload")
    metadata_block = show_json("metadata", "Metadata")

    def get_search_condition(self, rows: QuerySet[Any], term: str) -> Q:
        """Ids, and the fingerprint of open dead letters, which alone have an index of it."""
        by_fingerprint = Q(fingerprint=term, resolved_at__isnull=True)
        return super().get_search_condition(rows, term) | by_fingerprint

    def get_fieldsets(self, request: HttpRequest, obj: DeadLetter | None = None) -> Any:
        """Nothing about its end while it is open."""
        every = super().get_fieldsets(request, obj)
        still_open = obj is not None and obj.resolved_at is None
        return [one for one in every if not (still_open and one[0] == "Dealt with")]

    @admin.display(description="State")
    def letter_state(self, row: DeadLetter) -> str:
        if row.resolved_at is None:
            return badge("OPEN", LETTER_TONES)
        return badge(getattr(row, "newest_action", None) or "RESOLVED", LETTER_TONES)

    @admin.display(description="Aggregate")
    def aggregate(self, row: DeadLetter) -> str:
        return format_html("{} {}", row.aggregate_type, code(row.aggregate_id, short=True))

    @admin.display(description="Event")
    def event(self, row: DeadLetter) -> str:
        status = (
            Event.objects.filter(pk=row.original_event_id).values_list("status", flat=True).first()
        )
        if status is None:
            return format_html("{} is gone", code(row.original_event_id))
        return format_html(
            "{} {}", link("outbox_event", row.original_event_id), badge(status, EVENT_TONES)
        )

    @admin.display(description="Its aggregate")
    def key(self, row: DeadLetter) -> str:
        key = TroubledKey.objects.filter(
            destination=row.destination,
            aggregate_type=row.aggregate_type,
            aggregate_id=row.aggregate_id,
        ).first()
        if key is None:
            return "Not held back"
        return format_html(
            "{} since {}",
            link("outbox_troubledkey", key.pk, badge(key.state, KEY_TONES)),
            when(key.since),
        )

    @admin.display(description="Same aggregate")
    def same_aggregate(self, row: DeadLetter) -> str:
        same = {"aggregate_type": row.aggregate_type, "aggregate_id": row.aggregate_id}
        rows = DeadLetter.objects.filter(**same).exclude(pk=row.pk)
        return list_link("outbox_deadletter", others(rows), **same)

    @admin.display(description="Same failure, open")
    def same_failure(self, row: DeadLetter) -> str:
        if not row.fingerprint:
            return "-"
        rows = DeadLetter.objects.filter(fingerprint=row.fingerprint, resolved_at__isnull=True)
        return list_link(
            "outbox_deadletter",
            others(rows.exclude(pk=row.pk)),
            fingerprint=row.fingerprint,
            state="open",
        )

    @admin.display(description="Actions")
    def actions_panel(self, row: DeadLetter) -> str:
        newest = (
            DeadLetterActionRecord.objects.filter(dead_letter_id=row.pk)
            .order_by("-id")
            .defer("details")
            .annotate(**json_columns(["details"]))[:PANEL_LIMIT]
        )
        rows = [
            (
                badge(action.action, ACTION_TONES),
                action.actor,
                first_line(action.note, 500),
                when(action.occurred_at),
                json_of(action, "details"),
            )
            for action in newest
        ]
        every = list_link("outbox_deadletteractionrecord", "All of them", dead_letter=row.pk)
        remark = every if len(rows) == PANEL_LIMIT else ""
        return table(
            f"Newest {PANEL_LIMIT} actions",
            ["Action", "By", "Note", "When", "Details"],
            rows,
            remark=remark,
        )

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Beside the rows, how each was dealt with."""
        return with_newest_action(super().get_list_queryset(rows))

    def get_detail_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Beside the row, how it was dealt with."""
        return with_newest_action(super().get_detail_queryset(rows))


@admin.register(DeadLetterActionRecord)
class DeadLetterActionAdmin(ReadOnlyAdmin):
    """Every death and every repair, newest first."""

    list_display = ("id", "done", "letter", "actor", "note_start", "age")
    list_filter = ("action",)
    search_fields = ("dead_letter",)
    search_help_text = "Id of the dead letter."
    ordering = ("-id",)
    linked_lookups = ("dead_letter",)
    list_cut = ("note",)
    fieldsets = (
        (None, {"fields": ("done", "letter", "actor", "note_block", "occurred", "batch_id")}),
        ("Details", {"fields": ("details_block",)}),
    )

    done = show_state("action", "Action", ACTION_TONES)
    letter = show_link("dead_letter_id", "Dead letter", "outbox_deadletter")
    note_start = show_first_line("note", "Note")
    note_block = show_text("note", "Note")
    age = show_age("occurred_at", "When")
    occurred = show_when("occurred_at", "When")
    details_block = show_json("details", "Details")
