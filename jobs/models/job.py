"""Jobs, and their runs that failed."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from jobs.models.provider import Provider
from jobs.states import (
    FailureKind,
    JobState,
)


class Job(models.Model):
    """A unit of work: what to run, how far it is, and how it ended."""

    id = models.UUIDField(
        primary_key=True, default=uuid.uuid4, editable=False, db_comment="Id, given by the caller"
    )
    spec = models.JSONField(db_comment="What to run; its command or task, and its limits")
    state = models.CharField(
        max_length=50, choices=choices(JobState), db_comment="Where the job is; final states rest"
    )
    selected_provider = models.ForeignKey(
        Provider,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
        db_comment="The provider that was chosen for it",
    )
    execution_context = models.JSONField(
        null=True, blank=True, db_comment="The provider's data about the run"
    )
    attempts = models.IntegerField(
        default=0, db_default=0, db_comment="Runs begun; a returned, unstarted job spends none"
    )
    max_attempts = models.IntegerField(
        default=3, db_default=3, db_comment="Runs allowed before it stays FAILED"
    )
    created_at = models.DateTimeField(db_default=now(), db_comment="When it was enqueued first")
    started_at = models.DateTimeField(
        null=True, blank=True, db_comment="Begin of the newest run; NULL before the first"
    )
    completed_at = models.DateTimeField(
        null=True, blank=True, db_comment="When it reached a final state"
    )
    result = models.JSONField(null=True, blank=True, db_comment="What the newest run returned")
    error_message = models.TextField(null=True, blank=True, db_comment="Why the newest run failed")
    metadata = models.JSONField(
        default=dict, db_default={}, db_comment="The caller's own data, and what a repair kept"
    )
    name = models.CharField(
        max_length=255, db_default="", db_comment="For people: what this job is called"
    )
    queue = models.CharField(
        max_length=64, db_default="default", db_comment="Workers ask for queues by name"
    )
    priority = models.IntegerField(
        db_default=0, db_comment="-100 to 100; higher runs first within its queue"
    )
    run_after = models.DateTimeField(
        null=True, blank=True, db_comment="Not before this time; NULL is at once"
    )
    timeout = models.DurationField(
        null=True, blank=True, db_comment="Longest run; NULL is the executor's default"
    )
    correlation_id = models.CharField(
        max_length=255, null=True, blank=True, db_comment="Common to all that belongs together"
    )
    idempotency_key = models.CharField(
        max_length=255,
        null=True,
        blank=True,
        db_comment="A second enqueue with the same key returns this job",
    )
    trace_parent = models.CharField(
        max_length=55, null=True, blank=True, db_comment="W3C traceparent of the enqueuing code"
    )
    worker_id = models.UUIDField(
        null=True, blank=True, db_comment="workers.id of the newest run; kept when that row is gone"
    )
    lost_leases = models.IntegerField(
        db_default=0, db_comment="Runs whose worker vanished; counted apart from attempts"
    )
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was changed last")
    orchestrated = models.BooleanField(
        default=False,
        db_default=False,
        db_comment="Kept out of the queue: a saga leases it to a worker",
    )

    class Meta:
        db_table = "jobs"
        permissions = [("operate_job", "Can decide about jobs")]
        db_table_comment = "Units of work, from enqueue to their final state and until retention"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=values(JobState)),
                name="jobs_state_check",
            ),
            models.CheckConstraint(
                condition=Q(priority__gte=-100, priority__lte=100), name="jobs_priority_range"
            ),
            models.UniqueConstraint(
                fields=["idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="jobs_idempotency_key_key",
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="idx_jobs_created_at"),
            models.Index(fields=["state", "created_at"], name="jobs_state_created_idx"),
            models.Index(
                fields=["selected_provider"],
                condition=Q(selected_provider__isnull=False),
                name="jobs_provider_idx",
            ),
            models.Index(
                fields=["correlation_id"],
                condition=Q(correlation_id__isnull=False),
                name="jobs_correlation_idx",
            ),
            models.Index(
                fields=["state"],
                condition=Q(
                    orchestrated=True,
                    state__in=["PENDING", "ASSIGNED", "SCHEDULED", "RUNNING"],
                ),
                name="jobs_orchestrated_idx",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name or self.id} ({self.state})"


class FailedAttempt(models.Model):
    """A run that failed, or that was lost; the newest run is in the job itself."""

    id = models.BigAutoField(primary_key=True, db_comment="Order in which runs failed")
    job = models.ForeignKey(
        Job,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="failed_attempts",
        db_comment="The job; its attempts die with it",
    )
    attempt = models.IntegerField(db_comment="Number of the run, from 1")
    worker_id = models.UUIDField(null=True, blank=True, db_comment="workers.id of who ran it")
    started_at = models.DateTimeField(null=True, blank=True, db_comment="Begin of the run")
    failed_at = models.DateTimeField(db_default=now(), db_comment="When it was known to fail")
    kind = models.CharField(
        max_length=30, choices=choices(FailureKind), db_comment="What kind of failure it was"
    )
    error_class = models.CharField(
        max_length=255, null=True, blank=True, db_comment="Dotted path of the exception's class"
    )
    message = models.TextField(null=True, blank=True, db_comment="What went wrong, cut")
    traceback = models.TextField(null=True, blank=True, db_comment="Where it went wrong, cut")

    class Meta:
        db_table = "job_failed_attempts"
        db_table_comment = "Runs of jobs that failed; one that succeeds leaves no row"
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=values(FailureKind)), name="job_failed_attempts_kind_check"
            ),
        ]
        indexes = [
            models.Index(fields=["job", "id"], name="job_failed_attempts_job_idx"),
        ]
        verbose_name = "failed attempt"

    def __str__(self) -> str:
        return f"{self.job_id} attempt {self.attempt}: {self.kind}"
