"""What runs leave behind, and what begins them: failed attempts, output, schedules."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from hodei.admin.readonly import (
    ReadOnlyAdmin,
    show_age,
    show_code,
    show_first_line,
    show_json,
    show_link,
    show_text,
    show_when,
)
from hodei.admin.rendering import badge, text_block
from jobs.models import FailedAttempt, LogGarbage, LogTail, Schedule

#: Bytes of a tail that a page shows: the newest.
MOST_SHOWN = 64 * 1024


@admin.register(FailedAttempt)
class FailedAttemptAdmin(ReadOnlyAdmin):
    """Runs that failed, the newest first."""

    list_display = ("job_code", "attempt", "kind", "first_error", "age")
    list_cut = ("message",)
    search_fields = ("job",)
    search_help_text = "Id of the job."
    ordering = ("-id",)
    linked_lookups = ("job",)
    fieldsets = (
        (None, {"fields": ("job_page", "attempt", "kind", "error_class", "worker_page")}),
        ("When", {"fields": ("started", "failed")}),
        ("What went wrong", {"fields": ("message_block", "traceback_block")}),
    )

    job_code = show_code("job_id", "Job", short=True)
    first_error = show_first_line("message", "Error")
    age = show_age("failed_at", "When")
    started = show_when("started_at", "Began")
    failed = show_when("failed_at", "Failed")
    job_page = show_link("job_id", "Job", "jobs_job")
    worker_page = show_link("worker_id", "Worker", "jobs_worker")
    message_block = show_text("message", "Message")
    traceback_block = show_text("traceback", "Traceback")


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    """Periodic jobs, by name."""

    list_display = ("name", "cron", "time_zone", "is_on", "due", "last")
    search_fields = ("name",)
    search_help_text = "Name of the schedule."
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "cron", "time_zone", "is_on", "overlap", "missed")}),
        ("When", {"fields": ("due_when", "last_when", "last_job", "created", "updated")}),
        ("Its jobs", {"fields": ("spec_block", "options_block")}),
    )

    due = show_age("next_run_at", "Due")
    last = show_age("last_run_at", "Last")
    due_when = show_when("next_run_at", "Due")
    last_when = show_when("last_run_at", "Last time")
    created = show_when("created_at", "Added")
    updated = show_when("updated_at", "Changed")
    last_job = show_link("last_job_id", "Last job", "jobs_job")
    spec_block = show_json("spec", "Spec")
    options_block = show_json("options", "Options")

    @admin.display(description="State")
    def is_on(self, row: Schedule) -> str:
        return badge("ENABLED" if row.enabled else "DISABLED", {"ENABLED": "good"})


@admin.register(LogTail)
class LogTailAdmin(ReadOnlyAdmin):
    """The newest output of jobs."""

    list_display = ("job_code", "total_bytes", "age")
    search_fields = ("job",)
    search_help_text = "Id of the job."
    ordering = ("-job",)
    fieldsets = (
        (None, {"fields": ("job_page", "total_bytes", "updated")}),
        ("Newest output", {"fields": ("tail_block",)}),
    )

    job_code = show_code("job_id", "Job")
    age = show_age("updated_at", "Written")
    updated = show_when("updated_at", "Written")
    job_page = show_link("job_id", "Job", "jobs_job")

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The tails without their bytes."""
        return rows.defer("tail")

    @admin.display(description="Output")
    def tail_block(self, row: LogTail) -> str:
        text = bytes(row.tail)[-MOST_SHOWN:].decode(errors="replace")
        return text_block(text)


@admin.register(LogGarbage)
class LogGarbageAdmin(ReadOnlyAdmin):
    """Log files that retention deletes next, the oldest first."""

    list_display = ("storage_uri", "age")
    search_fields = ("id",)
    search_help_text = "Number of the row."
    ordering = ("id",)
    fieldsets = ((None, {"fields": ("storage_uri", "noted")}),)

    age = show_age("since", "Since")
    noted = show_when("since", "Since")
