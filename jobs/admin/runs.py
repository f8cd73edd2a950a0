"""What runs leave behind, and what begins them: failed attempts, output, schedules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.html import format_html

from hodei.admin.actions import Judge
from hodei.admin.deciding import DecidingAdmin
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
from hodei.admin.rendering import EMPTY, ago, badge, lines, link, text_block, when
from jobs import cron
from jobs.admin.decisions import SCHEDULE_ACTIONS, judge_schedule
from jobs.admin.work import JOB_TONES
from jobs.models import FailedAttempt, Job, LogGarbage, LogTail, Schedule

#: Bytes of a tail that a page shows: the newest.
MOST_SHOWN = 64 * 1024
#: Times at which a schedule is due next that its page shows.
TIMES_SHOWN = 5


@admin.register(FailedAttempt)
class FailedAttemptAdmin(ReadOnlyAdmin):
    """Runs that failed, the newest first."""

    explanation = "Each run that failed, with its traceback. Its job may have succeeded since."
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
class ScheduleAdmin(DecidingAdmin):
    """Periodic jobs, by name."""

    explanation = (
        "Jobs that are enqueued again and again. jobs_schedule adds and removes schedules."
    )
    decisions = SCHEDULE_ACTIONS
    state_cell = "is_on"
    list_display = ("name", "cron", "time_zone", "is_on", "due", "last")
    search_fields = ("name",)
    search_help_text = "Name of the schedule."
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "cron", "time_zone", "is_on", "overlap", "missed")}),
        ("When", {"fields": ("due_times", "last_when", "last_job", "created", "updated")}),
        ("Its jobs", {"fields": ("spec_block", "options_block")}),
    )

    last = show_age("last_run_at", "Last")
    last_when = show_when("last_run_at", "Last time")
    created = show_when("created_at", "Added")
    updated = show_when("updated_at", "Changed")
    spec_block = show_json("spec", "Spec")
    options_block = show_json("options", "Options")

    def judge(self, rows: Sequence[Any], using: str) -> Judge:
        """By whether each is enabled."""
        return judge_schedule

    def title_of(self, row: Schedule) -> str:
        """Its name."""
        return row.name

    @admin.display(description="Due")
    def due(self, row: Schedule) -> str:
        return ago(row.next_run_at) if row.enabled else EMPTY

    @admin.display(description="Due next")
    def due_times(self, row: Schedule) -> str:
        if not row.enabled:
            return "Not while it is disabled"
        if row.next_run_at is None:
            return "Never any more"
        try:
            later = islice(
                cron.times(row.cron, row.time_zone, after=row.next_run_at), TIMES_SHOWN - 1
            )
            return lines(map(when, [row.next_run_at, *later]))
        except cron.CronInvalid:  # stored by others
            return when(row.next_run_at)

    @admin.display(description="Last job")
    def last_job(self, row: Schedule) -> str:
        if row.last_job_id is None:
            return EMPTY
        states = Job.objects.filter(pk=row.last_job_id).values_list("state", flat=True)
        state = states.first()
        if state is None:
            return format_html("{} is gone", row.last_job_id)
        return format_html("{} {}", link("jobs_job", row.last_job_id), badge(state, JOB_TONES))

    @admin.display(description="State")
    def is_on(self, row: Schedule) -> str:
        return badge("ENABLED" if row.enabled else "DISABLED", {"ENABLED": "good"})


@admin.register(LogTail)
class LogTailAdmin(ReadOnlyAdmin):
    """The newest output of jobs."""

    explanation = "The newest output of jobs that run, and of those whose log could not be stored."
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

    explanation = "Log files that belong to nothing any more. jobs_prune deletes them."
    list_display = ("storage_uri", "age")
    search_fields = ("id",)
    search_help_text = "Number of the row."
    ordering = ("id",)
    fieldsets = ((None, {"fields": ("storage_uri", "noted")}),)

    age = show_age("since", "Since")
    noted = show_when("since", "Since")
