"""What sagas hold, and what happened to them."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html

from hodei.admin.filters import age_filter, leading_value_filter
from hodei.admin.readonly import (
    ReadOnlyAdmin,
    show_age,
    show_first_line,
    show_json,
    show_link,
    show_text,
    show_when,
)
from hodei.admin.rendering import (
    badge,
    code,
    link,
)
from sagas.admin.sagas import SAGA_TONES
from sagas.models import Saga, SagaAuditEvent, SagaLock


@admin.register(SagaLock)
class SagaLockAdmin(ReadOnlyAdmin):
    """Resources that sagas hold."""

    explanation = "Resources that sagas hold, so that no other touches them meanwhile."
    list_display = ("resource_id", "resource_type", "age", "saga_link")
    list_filter = (leading_value_filter("resource_type", "resource type"),)
    search_fields = ("saga", "resource_type/resource_id")
    search_help_text = "Id of the saga or the resource."
    ordering = ("resource_type", "resource_id")
    linked_lookups = ("saga",)
    fieldsets = ((None, {"fields": ("resource_type", "resource_id", "saga_page", "acquired")}),)

    age = show_age("acquired_at", "Held")
    acquired = show_when("acquired_at", "Held since")
    saga_link = show_link("saga_id", "Saga", "sagas_saga", short=True)
    saga_page = show_link("saga_id", "Saga", "sagas_saga")


@admin.register(SagaAuditEvent)
class SagaAuditEventAdmin(ReadOnlyAdmin):
    """What happened to sagas, newest first. The saga itself may be gone."""

    explanation = "What happened to sagas and their steps, and who decided what."
    list_display = ("event_type", "step_name", "age", "in_words", "saga_link")
    list_filter = (leading_value_filter("event_type", "what"), age_filter("occurred_at", "when"))
    search_fields = ("id", "saga")
    search_help_text = "Id of the event or its saga."
    ordering = ("-occurred_at",)
    sortable_by = ("age",)
    linked_lookups = ("saga",)
    list_cut = ("message",)
    fieldsets = (
        (None, {"fields": ("event_type", "step_name", "saga_state", "message_block", "occurred")}),
        ("Details", {"fields": ("id", "payload_block")}),
    )

    age = show_age("occurred_at", "When")
    occurred = show_when("occurred_at", "When")
    in_words = show_first_line("message", "In words")
    message_block = show_text("message", "In words")
    payload_block = show_json("payload", "Details")
    saga_link = show_link("saga_id", "Saga", "sagas_saga", short=True)

    @admin.display(description="Saga")
    def saga_state(self, row: SagaAuditEvent) -> str:
        saga = Saga.objects.filter(pk=row.saga_id)
        state = saga.values_list("state", flat=True).first()
        if state is None:
            return format_html("{} is gone", code(row.saga_id))
        return format_html("{} {}", link("sagas_saga", row.saga_id), badge(state, SAGA_TONES))
