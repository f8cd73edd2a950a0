"""What is kept of what happened: audit records and log files."""

from __future__ import annotations

from django.contrib import admin

from hodei.admin.filters import age_filter, leading_value_filter
from hodei.admin.readonly import (
    ReadOnlyAdmin,
    show_age,
    show_json,
    show_link,
    show_when,
)
from hodei.admin.rendering import (
    EMPTY,
    list_link,
)
from jobs.models import (
    AuditRecord,
    LogFile,
)


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    """What happened, newest first."""

    list_display = ("event_type", "actor", "age", "correlation_id")
    list_filter = (
        leading_value_filter("event_type", "what"),
        age_filter("occurred_at", "when"),
    )
    search_fields = ("id", "correlation_id", "actor")
    search_help_text = "Id, correlation id or actor."
    ordering = ("-occurred_at",)
    sortable_by = ("age",)
    linked_lookups = ("correlation_id",)
    fieldsets = (
        (None, {"fields": ("event_type", "actor", "occurred", "correlation")}),
        ("Details", {"fields": ("id", "payload_block")}),
    )

    age = show_age("occurred_at", "When")
    occurred = show_when("occurred_at", "When")
    payload_block = show_json("payload", "Payload")

    @admin.display(description="Correlation id")
    def correlation(self, row: AuditRecord) -> str:
        if not row.correlation_id:
            return EMPTY
        return list_link("jobs_auditrecord", row.correlation_id, correlation_id=row.correlation_id)


@admin.register(LogFile)
class LogFileAdmin(ReadOnlyAdmin):
    """Log files, the last to expire first."""

    list_display = ("storage_uri", "size_bytes", "entry_count", "age", "expiry")
    search_fields = ("id", "job", "storage_uri")
    search_help_text = "Id of the file or its job, or its whole address."
    ordering = ("-expires_at",)
    sortable_by = ("expiry",)
    fieldsets = (
        (None, {"fields": ("storage_uri", "job_page", "size_bytes", "entry_count")}),
        ("When", {"fields": ("created", "expires", "id")}),
    )

    age = show_age("created_at", "Stored")
    expiry = show_age("expires_at", "Expires")
    created = show_when("created_at", "Stored")
    expires = show_when("expires_at", "Expires")
    job_page = show_link("job_id", "Job", "jobs_job")
