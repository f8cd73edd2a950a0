"""Jobs, where they wait, and who holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db import connections, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
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
    EMPTY,
    SPACE,
    Tones,
    clipped,
    code,
    json_columns,
    json_of,
    lines,
    link,
    list_link,
    span,
    table,
    when,
)
from hodei.redaction import redact_text
from jobs.admin.decisions import JOB_ACTIONS, judge_job
from jobs.admin.output import NothingWritten, attempts_panel, log_of, output_panel
from jobs.logs.store import LogUnreadable
from jobs.models import (
    AuditRecord,
    DeferredEntry,
    Job,
    Lease,
    LogFile,
    QueueEntry,
)
from jobs.states import JobState

JOB_TONES: Tones = {
    JobState.PENDING: "wait",
    JobState.ASSIGNED: "busy",
    JobState.SCHEDULED: "busy",
    JobState.RUNNING: "busy",
    JobState.SUCCEEDED: "good",
    JobState.FAILED: "bad",
    JobState.TIMEOUT: "bad",
    JobState.MANUAL_INTERVENTION_REQUIRED: "bad",
}

#: Audit records that the page of a job shows.
AUDIT_LIMIT = 100


@admin.register(Job)
class JobAdmin(DecidingAdmin):
    """Jobs, newest first."""

    explanation = "Work that waits, runs or has ended. Tick rows and choose an action, or open one."
    decisions = JOB_ACTIONS
    state_cell = "job_state"

    list_display = (
        *("job_name", "job_state", "age", "in_queue", "runs", "first_error", "belongs_to"),
    )
    list_filter = ("state", age_filter("created_at", "enqueued"))
    search_fields = ("id", "correlation_id", "idempotency_key")
    search_help_text = "Id, correlation id or idempotency key."
    ordering = ("-created_at",)
    sortable_by = ("age",)
    linked_lookups = ("selected_provider", "correlation_id")
    list_cut = ("error_message",)
    panels = {
        "Audit": "jobs.view_auditrecord",
        "Failed attempts": "jobs.view_failedattempt",
        "Output": "jobs.view_logtail",
    }
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("job_state", "error", "result_block", "tries", "lost_leases", "place"),
                    *("worker", "provider"),
                )
            },
        ),
        (
            "When",
            {"fields": ("created", "due", "started", "completed", "duration", "timeout")},
        ),
        (
            "What",
            {"fields": ("name", "queue", "priority", "spec_block", "context_block")},
        ),
        ("Failed attempts", {"fields": ("attempts_panel",), "classes": ("hodei-wide",)}),
        ("Output", {"fields": ("output_panel",), "classes": ("hodei-wide",)}),
        ("Audit", {"fields": ("audit_panel",), "classes": ("hodei-wide",)}),
        (
            "Belongs to",
            {
                "fields": (
                    *("id", "correlation", "idempotency", "log_file", "trace_parent"),
                    "metadata_block",
                )
            },
        ),
    )

    first_error = show_first_line("error_message", "Error")
    job_state = show_state("state", "State", JOB_TONES)
    age = show_age("created_at", "Enqueued")
    error = show_text("error_message", "Error")
    created = show_when("created_at", "Enqueued")
    due = show_when("run_after", "Not before")
    started = show_when("started_at", "Started")
    completed = show_when("completed_at", "Completed")
    worker = show_link("worker_id", "Worker", "jobs_worker")
    provider = show_link("selected_provider_id", "Provider", "jobs_provider")
    idempotency = show_code("idempotency_key", "Idempotency key")
    spec_block = show_json("spec", "Spec")
    result_block = show_json("result", "Result")
    context_block = show_json("execution_context", "Execution context")
    metadata_block = show_json("metadata", "Metadata")

    def judge(self, rows: Sequence[Any], using: str) -> Judge:
        """By the state of each."""
        return judge_job

    def get_urls(self) -> list[URLPattern]:
        """Beside the pages, what a job has written, as a file."""
        view: Any = require_safe(self.log_view)
        for alias in connections:  # no transaction is open while a storage is read
            view = transaction.non_atomic_requests(using=alias)(view)
        return [
            path("<path:job_id>/log/", self.admin_site.admin_view(view), name="jobs_job_log"),
            *super().get_urls(),
        ]

    def log_view(self, request: HttpRequest, job_id: str) -> HttpResponseBase:
        """The log, or the page of the job with the reason why it cannot be read."""
        try:
            return log_of(request, job_id, self.get_queryset(request).db)
        except (LogUnreadable, NothingWritten) as error:
            messages.error(request, redact_text(str(error)))
            return HttpResponseRedirect(reverse("admin:jobs_job_change", args=(job_id,)))

    def title_of(self, row: Job) -> str:
        """Its name, or its id."""
        return row.name or str(row.pk)

    @admin.display(description="Job")
    def job_name(self, row: Job) -> str:
        return row.name or code(row.pk, short=True)

    @admin.display(description="Attempts")
    def tries(self, row: Job) -> str:
        return f"{row.attempts} of {row.max_attempts}"

    @admin.display(description="Queue, priority")
    def in_queue(self, row: Job) -> str:
        return format_html("{},{}{}", clipped(row.queue, 16), SPACE, row.priority)

    @admin.display(description="Attempts")
    def runs(self, row: Job) -> str:
        took = self.took(row)
        return self.tries(row) if took == EMPTY else f"{self.tries(row)}, {took}"

    @admin.display(description="Belongs to")
    def belongs_to(self, row: Job) -> str:
        return clipped(row.correlation_id)

    @admin.display(description="Ran for")
    def took(self, row: Job) -> str:
        if row.started_at is None:
            return EMPTY
        return span((row.completed_at or timezone.now()) - row.started_at)

    @admin.display(description="Ran for")
    def duration(self, row: Job) -> str:
        return self.took(row)

    @admin.display(description="Where it is")
    def place(self, row: Job) -> str:
        found = [
            *(
                format_html("In the queue since {}", when(entry.enqueued_at))
                for entry in QueueEntry.objects.filter(job_id=row.pk)
            ),
            *(
                format_html("Deferred until {}", when(entry.run_after))
                for entry in DeferredEntry.objects.filter(job_id=row.pk)
            ),
            *(
                format_html(
                    "Leased by {} until {}, epoch {}",
                    link("jobs_worker", lease.worker_id),
                    when(lease.expires_at),
                    lease.epoch,
                )
                for lease in Lease.objects.filter(job_id=row.pk)
            ),
        ]
        return lines(found) if found else "In no queue, held by nobody"

    @admin.display(description="Log file")
    def log_file(self, row: Job) -> str:
        files = LogFile.objects.filter(job_id=row.pk)
        return lines(link("jobs_logfile", file.pk, file.storage_uri) for file in files)

    @admin.display(description="Correlation id")
    def correlation(self, row: Job) -> str:
        if not row.correlation_id:
            return EMPTY
        same = row.correlation_id
        return lines(
            [
                code(same),
                list_link("jobs_job", "Its jobs", correlation_id=same),
                list_link("jobs_auditrecord", "Its audit", correlation_id=same),
                list_link("sagas_saga", "Its sagas", q=same),
            ]
        )

    @admin.display(description="Failed attempts")
    def attempts_panel(self, row: Job) -> str:
        return attempts_panel(row)

    @admin.display(description="Output")
    def output_panel(self, row: Job) -> str:
        return output_panel(row)

    @admin.display(description="Audit")
    def audit_panel(self, row: Job) -> str:
        if not row.correlation_id:
            return EMPTY
        newest = (
            AuditRecord.objects.filter(correlation_id=row.correlation_id)
            .order_by("-occurred_at", "-pk")
            .defer("payload")
            .annotate(**json_columns(["payload"]))[:AUDIT_LIMIT]
        )
        rows = [
            (when(entry.occurred_at), entry.event_type, entry.actor, json_of(entry, "payload"))
            for entry in newest
        ]
        caption = f"Newest {AUDIT_LIMIT} records of its correlation id"
        return table(caption, ["When", "What", "By", "Details"], rows)


@admin.register(QueueEntry)
class QueueEntryAdmin(ReadOnlyAdmin):
    """What can be claimed now, in the order in which it will be."""

    explanation = "Jobs that a worker may take now, in the order in which they are taken."
    list_display = ("queue", "priority", "job_link", "waiting")
    list_filter = (leading_value_filter("queue", "queue"),)
    list_select_related = ("job",)
    search_fields = ("job",)
    search_help_text = "Id of the job."
    ordering = ("queue", "-priority", "id")
    fieldsets = ((None, {"fields": ("job_page", "queue", "priority", "enqueued")}),)

    waiting = show_age("enqueued_at", "Waiting since")
    enqueued = show_when("enqueued_at", "Waiting since")
    job_page = show_link("job_id", "Job", "jobs_job")

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Of the job, only what the list shows."""
        return rows.only("id", "queue", "priority", "enqueued_at", "job__name")

    @admin.display(description="Job")
    def job_link(self, row: QueueEntry) -> str:
        return link("jobs_job", row.job_id, row.job.name)


@admin.register(DeferredEntry)
class DeferredEntryAdmin(ReadOnlyAdmin):
    """What is due later, the next one first."""

    explanation = "Jobs that are due later: delayed, or waiting for their next attempt."
    list_display = ("job_name", "due", "queue", "priority")
    list_select_related = ("job",)
    search_fields = ("job",)
    search_help_text = "Id of the job."
    ordering = ("run_after",)
    fieldsets = ((None, {"fields": ("job_page", "due_when", "queue", "priority")}),)

    due = show_age("run_after", "Due")
    due_when = show_when("run_after", "Due")
    job_page = show_link("job_id", "Job", "jobs_job")

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Of the job, only what the list shows."""
        return rows.only("job_id", "run_after", "queue", "priority", "job__name")

    @admin.display(description="Job")
    def job_name(self, row: DeferredEntry) -> str:
        return row.job.name or code(row.job_id, short=True)


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    """Who runs what, the next to expire first."""

    explanation = "Which worker holds which job, and until when it has to say again that it lives."
    list_display = ("job_code", "job_name", "expires", "held", "worker_link", "epoch")
    search_fields = ("job",)
    search_help_text = "Id of the job."
    ordering = ("expires_at",)
    linked_lookups = ("worker_id",)
    fieldsets = ((None, {"fields": ("job_page", "worker", "expires_when", "acquired", "epoch")}),)

    expires = show_age("expires_at", "Expires")
    held = show_age("acquired_at", "Claimed")
    expires_when = show_when("expires_at", "Expires")
    acquired = show_when("acquired_at", "Claimed")
    job_code = show_code("job_id", "Job", short=True)
    job_page = show_link("job_id", "Job", "jobs_job")
    worker_link = show_link("worker_id", "Worker", "jobs_worker", short=True)
    worker = show_link("worker_id", "Worker", "jobs_worker")

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Beside the rows, the jobs' names; a lease has no foreign key, so its job may be gone."""
        jobs = Job.objects.filter(pk=OuterRef("pk"))
        shown: QuerySet[Any] = rows.annotate(name_of_job=Subquery(jobs.values("name")[:1]))
        return shown

    @admin.display(description="Name")
    def job_name(self, row: Any) -> str:
        return row.name_of_job or EMPTY
