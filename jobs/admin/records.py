"""What is kept of what happened: audit records and log files."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_safe

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
from hodei.admin.sweeping import matching
from jobs.admin.export import FORMATS, exported
from jobs.models import (
    AuditRecord,
    LogFile,
)


def _export_address(form: str, back: str) -> str:
    query = urlencode({"format": form, "back": back})
    return f"{reverse('admin:jobs_auditrecord_export')}?{query}"


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    """What happened, newest first."""

    explanation = "What people, workers and the platform did to jobs, workers and providers."
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

    def get_urls(self) -> list[URLPattern]:
        """Beside the pages, the list as a file."""
        view = self.admin_site.admin_view(require_safe(self.export_view))
        return [path("export/", view, name="jobs_auditrecord_export"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with the ways to take it along."""
        back = request.GET.urlencode()
        ways = [(f"Download as {form.upper()}", _export_address(form, back)) for form in FORMATS]
        return super().changelist_view(request, {"ways": ways, **(extra_context or {})})

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """What the list shows, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET
        form, back = asked.get("format", ""), asked.get("back", "")
        found = matching(self, request, back)
        if found is None:
            raise Http404("The list has no such filter.")
        address = request.build_absolute_uri(_export_address(form, back))
        return exported(found.queryset, form, asked.get("after", ""), address)

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

    explanation = "What jobs have written, kept until its time is up. jobs_logs prints it."
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
