"""Dead letters: what died, why, and what people did about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_safe

from hodei.admin.actions import Judge
from hodei.admin.deciding import DecidingAdmin
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
from outbox.admin import groups
from outbox.admin.decisions import LETTER_ACTIONS, judge_letter
from outbox.admin.events import EVENT_TONES, KEY_TONES, aggregate_of_row, of_aggregate
from outbox.models import DeadLetter, DeadLetterActionRecord, Event, TroubledKey
from outbox.services.dead_letters.filters import holds
from outbox.states import DeadLetterAction, EventStatus

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


def waiting(rows: QuerySet[Any]) -> str:
    """How many events wait, as words, counted no further than OTHERS_LIMIT."""
    count = _counted(rows)
    if count > OTHERS_LIMIT:
        return f"more than {OTHERS_LIMIT} events wait behind it"
    return {0: "no event waits behind it", 1: "1 event waits behind it"}.get(
        count, f"{count} events wait behind it"
    )


def others(rows: QuerySet[Any]) -> str:
    """How many rows there are, as words, counted no further than OTHERS_LIMIT."""
    count = _counted(rows)
    if count > OTHERS_LIMIT:
        return f"more than {OTHERS_LIMIT} others"
    return {0: "none", 1: "1 other"}.get(count, f"{count} others")


def _counted(rows: QuerySet[Any]) -> int:
    return rows.order_by().values("pk")[: OTHERS_LIMIT + 1].count()


@admin.register(DeadLetter)
class DeadLetterAdmin(DecidingAdmin):
    """Events that were given up: what died, why, and what people did about it."""

    explanation = (
        "Events that their destination will not take. Later ones of their aggregate wait behind "
        "those that are open."
    )
    decisions = LETTER_ACTIONS
    state_cell = "letter_state"

    list_display = (
        *("event_type", "letter_state", "died", "aggregate", "error_class", "first_error"),
        *("retry_count", "destination"),
    )
    list_filter = (
        OpenFilter,
        age_filter("moved_at", "died"),
        leading_value_filter("event_type", "event type"),
        leading_value_filter("aggregate_type", "aggregate type"),
    )
    search_fields = ("id", "original_event_id", "aggregate_type/aggregate_id")
    search_help_text = (
        "Id of the dead letter, its event or its aggregate, an aggregate like ORDER/4711, or an "
        "open fingerprint."
    )
    ordering = ("-moved_at",)
    sortable_by = ("died",)
    linked_lookups = ("aggregate_type", "aggregate_id", "fingerprint")
    list_cut = ("error_message",)
    panels = {"Actions": "outbox.view_deadletteractionrecord"}
    fieldsets = (
        (None, {"fields": ("letter_state", "error", "error_class", "moved", "retry_count")}),
        ("Dealt with", {"fields": ("resolved", "resolved_by", "notes")}),
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
    notes = show_text("resolution_notes", "Notes")
    aggregate_code = show_code("aggregate_id", "Aggregate id")
    idempotency = show_code("idempotency_key", "Idempotency key")
    payload_block = show_json("payload", "Payload")
    metadata_block = show_json("metadata", "Metadata")

    def get_urls(self) -> list[URLPattern]:
        """Beside the pages, what is open by how it failed."""
        view = self.admin_site.admin_view(require_safe(self.groups_view))
        return [path("groups/", view, name="outbox_deadletter_groups"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, and the way to its groups."""
        ways = [("By failure", reverse("admin:outbox_deadletter_groups"))]
        return super().changelist_view(request, {"ways": ways, **(extra_context or {})})

    def groups_view(self, request: HttpRequest) -> HttpResponse:
        """What is open by how it failed, and what can be decided about each group."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = groups.read(self.get_queryset(request).db)
        sweeps = [
            (one.label, reverse("admin:outbox_deadletter_decide", args=(one.name,)))
            for one in self.permitted(request)
            if one.among is not None and one.name != "restore"
        ]
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": "Dead letters by failure",
            "opts": self.opts,
            "media": self.media,
            "about": groups.about(found),
            "panels": [groups.panel(found, sweeps)] if found.by_fingerprint else [],
        }
        return TemplateResponse(request, "hodei/admin/panels.html", context)

    def get_search_condition(self, rows: QuerySet[Any], term: str) -> Q:
        """Ids, an aggregate by its own key, and the fingerprint of open dead letters, which alone
        have an index of it."""
        by_fingerprint = Q(fingerprint=term, resolved_at__isnull=True)
        return super().get_search_condition(rows, term) | of_aggregate(term) | by_fingerprint

    def get_fieldsets(self, request: HttpRequest, obj: DeadLetter | None = None) -> Any:
        """Nothing about its end while it is open."""
        every = super().get_fieldsets(request, obj)
        still_open = obj is not None and obj.resolved_at is None
        return [one for one in every if not (still_open and one[0] == "Dealt with")]

    def judge(self, rows: Sequence[Any], using: str) -> Judge:
        """By what was done with each."""
        return judge_letter

    def title_of(self, row: DeadLetter) -> str:
        """What happened, and to what."""
        about = row.aggregate_key or row.aggregate_id
        return f"{row.event_type} of {row.aggregate_type} {about}"

    @admin.display(description="State")
    def letter_state(self, row: DeadLetter) -> str:
        if row.resolved_at is None:
            state = badge("OPEN", LETTER_TONES)
            return format_html("{} others wait", state) if getattr(row, "holds", False) else state
        return badge(getattr(row, "newest_action", None) or "RESOLVED", LETTER_TONES)

    @admin.display(description="Aggregate")
    def aggregate(self, row: DeadLetter) -> str:
        return aggregate_of_row(row)

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
        same = {
            "destination": row.destination,
            "aggregate_type": row.aggregate_type,
            "aggregate_id": row.aggregate_id,
        }
        key = TroubledKey.objects.filter(**same).first()
        if key is None:
            return "Not held back"
        if key.event_id == row.original_event_id:
            held = Event.objects.filter(**same, held=True, status=EventStatus.PENDING)
            what = waiting(held)
        else:
            what = format_html("behind event {}", link("outbox_event", key.event_id))
        return format_html(
            "{} since {}; {}",
            link("outbox_troubledkey", key.pk, badge(key.state, KEY_TONES)),
            when(key.since),
            what,
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
        """Beside the rows, how each was dealt with, and whether others wait behind it."""
        found = with_newest_action(super().get_list_queryset(rows))
        shown: QuerySet[Any] = found.annotate(holds=holds())
        return shown

    def get_detail_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Beside the row, how it was dealt with."""
        return with_newest_action(super().get_detail_queryset(rows))


@admin.register(DeadLetterActionRecord)
class DeadLetterActionAdmin(ReadOnlyAdmin):
    """Every death and every repair, newest first."""

    explanation = "Each event that was given up, and what was done about it."
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
