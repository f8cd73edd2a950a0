"""The tables of the jobs app: jobs, the queue beside them, workers, providers, audit and logs.

Foreign keys have no constraint in Django's eyes: the database's own, with their actions, are set by
migrations, since Django's are deferrable and know no ON DELETE before 6.1.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from jobs.states import (
    CUSTOM_PROVIDER_TYPE,
    WORKER_FINAL,
    FailureKind,
    JobState,
    Missed,
    Overlap,
    ProviderStatus,
    ProviderType,
    WorkerState,
)


class Provider(models.Model):
    """Something that can start workers: its configuration, and whether it may."""

    id = models.UUIDField(
        primary_key=True, default=uuid.uuid4, editable=False, db_comment="Id, given by the caller"
    )
    name = models.CharField(max_length=255, db_comment="Unique name, for people")
    provider_type = models.CharField(
        max_length=50, db_comment="What it starts workers with; custom:<name> for third parties"
    )
    config = models.JSONField(
        default=dict, db_default={}, db_comment="Settings of the provider; secrets are redacted"
    )
    status = models.CharField(
        max_length=50,
        choices=choices(ProviderStatus),
        db_default=ProviderStatus.ACTIVE.value,
        db_comment="Only ACTIVE ones are asked for workers",
    )
    priority = models.IntegerField(db_default=0, db_comment="Higher is chosen first")
    max_workers = models.IntegerField(
        db_default=10, db_comment="Live workers that it may have at once"
    )
    tags = models.JSONField(default=list, db_default=[], db_comment="Labels that jobs select by")
    metadata = models.JSONField(
        default=dict, db_default={}, db_comment="Anything else, and what a repair kept"
    )
    created_at = models.DateTimeField(db_default=now(), db_comment="When it was saved first")
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was changed last")

    class Meta:
        db_table = "provider_configs"
        db_table_comment = "Providers that start workers, and their capacity"
        constraints = [
            models.UniqueConstraint(fields=["name"], name="provider_configs_name_key"),
            models.CheckConstraint(
                condition=Q(provider_type__in=values(ProviderType))
                | Q(provider_type__regex=CUSTOM_PROVIDER_TYPE),
                name="provider_configs_provider_type_check",
            ),
            models.CheckConstraint(
                condition=Q(status__in=values(ProviderStatus)),
                name="provider_configs_status_check",
            ),
        ]
        indexes = [
            models.Index(fields=["status"], name="idx_provider_configs_status"),
            models.Index(fields=["provider_type"], name="idx_provider_configs_type"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.provider_type})"


class Worker(models.Model):
    """A process that runs jobs. What it runs is in the leases, not here."""

    id = models.UUIDField(
        primary_key=True, default=uuid.uuid4, editable=False, db_comment="Id, given by the caller"
    )
    provider = models.ForeignKey(
        Provider,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="workers",
        db_comment="The provider that made it; a provider with workers cannot be deleted",
    )
    provider_type = models.TextField(db_comment="Type of that provider when it was made")
    provider_resource_id = models.TextField(db_comment="The provider's own name for it")
    state = models.TextField(
        choices=choices(WorkerState), db_comment="Accepts jobs in READY and, beside others, BUSY"
    )
    spec = models.JSONField(default=dict, db_comment="What it was made with")
    handle = models.JSONField(
        default=dict, db_comment="The provider's data about it, and what a repair kept"
    )
    current_job = models.ForeignKey(
        "jobs.Job",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
        db_comment="The job it runs, kept for workers that run one at a time",
    )
    last_heartbeat = models.DateTimeField(
        null=True, blank=True, db_comment="Newest sign of life; NULL before the first one"
    )
    created_at = models.DateTimeField(
        db_default=now(), db_comment="Registration: liveness counts from here before a heartbeat"
    )
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was changed last")

    class Meta:
        db_table = "workers"
        db_table_comment = "Processes that run jobs, one row each for its whole life"
        constraints = [
            models.CheckConstraint(
                condition=Q(provider_type__in=values(ProviderType))
                | Q(provider_type__regex=CUSTOM_PROVIDER_TYPE),
                name="workers_provider_type_check",
            ),
            models.CheckConstraint(
                condition=Q(state__in=values(WorkerState)),
                name="workers_state_check",
            ),
            models.UniqueConstraint(
                fields=["current_job"],
                condition=Q(
                    current_job__isnull=False,
                    state__in=[state.value for state in WorkerState if state not in WORKER_FINAL],
                ),
                name="workers_one_live_per_job",
            ),
        ]
        indexes = [
            models.Index(
                fields=["current_job"],
                condition=Q(current_job__isnull=False),
                name="idx_workers_current_job",
            ),
            models.Index(fields=["provider"], name="idx_workers_provider_id"),
            models.Index(fields=["state"], name="idx_workers_state"),
        ]

    def __str__(self) -> str:
        return f"{self.provider_resource_id} ({self.state})"


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
            models.Index(fields=["selected_provider"], name="idx_jobs_selected_provider"),
            models.Index(fields=["state", "created_at"], name="jobs_state_created_idx"),
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


class QueueEntry(models.Model):
    """A job that can be claimed now. Rows are inserted and deleted, never updated."""

    id = models.BigAutoField(primary_key=True, db_comment="Order of enqueuing within a priority")
    job = models.ForeignKey(
        Job,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
        db_comment="The job; its place in the queue dies with it",
    )
    enqueued_at = models.DateTimeField(db_default=now(), db_comment="Since when it waits")
    priority = models.IntegerField(db_default=0, db_comment="As in jobs; higher goes first")
    queue = models.CharField(max_length=64, db_default="default", db_comment="As in jobs")

    class Meta:
        db_table = "job_queue"
        db_table_comment = "Jobs that can be claimed now: narrow, inserted and deleted only"
        constraints = [
            # With an operator class it is a unique index and no constraint, as in the original.
            models.UniqueConstraint(
                fields=["job"], opclasses=["uuid_ops"], name="uq_job_queue_job_id"
            ),
        ]
        indexes = [
            models.Index(fields=["queue", "-priority", "id"], name="job_queue_claim_idx"),
        ]
        verbose_name = "queue entry"
        verbose_name_plural = "queue entries"

    def __str__(self) -> str:
        return f"{self.queue} {self.priority} {self.job_id}"


class DeferredEntry(models.Model):
    """A job that is due later: kept off the claim path until then."""

    job = models.OneToOneField(
        Job,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_comment="The job; its place dies with it",
    )
    run_after = models.DateTimeField(db_comment="When it moves into job_queue")
    queue = models.CharField(max_length=64, db_default="default", db_comment="As in jobs")
    priority = models.IntegerField(db_default=0, db_comment="As in jobs")

    class Meta:
        db_table = "job_queue_deferred"
        db_table_comment = "Jobs that are due later, and moved into job_queue when they are"
        indexes = [
            models.Index(fields=["run_after"], name="job_queue_deferred_due_idx"),
        ]
        verbose_name = "deferred entry"
        verbose_name_plural = "deferred entries"

    def __str__(self) -> str:
        return f"{self.job_id} at {self.run_after}"


class Lease(models.Model):
    """Who runs a job now, and until when that is believed."""

    job = models.OneToOneField(
        Job,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_comment="The job; without a foreign key, which a claim would pay for",
    )
    worker_id = models.UUIDField(db_comment="workers.id of the holder")
    epoch = models.BigIntegerField(
        db_comment="Given anew with each lease; a write with another one does nothing"
    )
    expires_at = models.DateTimeField(db_comment="Renewed while the worker lives; rescued after it")
    acquired_at = models.DateTimeField(db_default=now(), db_comment="When it was claimed")
    cancel_requested_at = models.DateTimeField(
        null=True, blank=True, db_comment="When somebody asked for the run to be stopped"
    )

    class Meta:
        db_table = "job_leases"
        db_table_comment = "Jobs that workers hold now, each until its lease expires"
        indexes = [
            models.Index(fields=["expires_at"], name="job_leases_expires_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} by {self.worker_id} until {self.expires_at}"


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


class Schedule(models.Model):
    """A job that is enqueued again and again, at the times of a cron expression."""

    id = models.BigAutoField(primary_key=True, db_comment="Meaningless number")
    name = models.CharField(max_length=100, db_comment="Unique name; part of its jobs' keys")
    cron = models.CharField(max_length=100, db_comment="Five fields: minute hour day month weekday")
    time_zone = models.CharField(
        max_length=64, db_default="UTC", db_comment="IANA name; the times are local there"
    )
    spec = models.JSONField(db_comment="What its jobs run: as in jobs")
    options = models.JSONField(
        default=dict, db_default={}, db_comment="Queue, priority and other properties of its jobs"
    )
    overlap = models.CharField(
        max_length=10,
        choices=choices(Overlap),
        db_default=Overlap.SKIP.value,
        db_comment="When it is due while its last job has not ended: SKIP, QUEUE or REPLACE",
    )
    missed = models.CharField(
        max_length=10,
        choices=choices(Missed),
        db_default=Missed.ONCE.value,
        db_comment="Times at which nobody ticked: SKIP, ONCE for the newest, or ALL",
    )
    enabled = models.BooleanField(db_default=True, db_comment="Whether it is due at all")
    next_run_at = models.DateTimeField(
        null=True, blank=True, db_comment="The next time; NULL where there is none any more"
    )
    last_run_at = models.DateTimeField(
        null=True, blank=True, db_comment="The newest time that was dealt with"
    )
    last_job_id = models.UUIDField(
        null=True, blank=True, db_comment="jobs.id of the newest one; kept when that row is gone"
    )
    created_at = models.DateTimeField(db_default=now(), db_comment="When it was added")
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was changed last")

    class Meta:
        db_table = "job_schedules"
        db_table_comment = "Jobs that are enqueued again and again, by cron expressions"
        constraints = [
            models.UniqueConstraint(fields=["name"], name="job_schedules_name_key"),
            models.CheckConstraint(
                condition=Q(overlap__in=values(Overlap)), name="job_schedules_overlap_check"
            ),
            models.CheckConstraint(
                condition=Q(missed__in=values(Missed)), name="job_schedules_missed_check"
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_run_at"], condition=Q(enabled=True), name="job_schedules_due_idx"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.cron} {self.time_zone})"


class AuditRecord(models.Model):
    """Something that happened, for good: the table refuses UPDATE and DELETE."""

    id = models.UUIDField(
        primary_key=True, default=uuid.uuid4, editable=False, db_comment="Id of the record"
    )
    correlation_id = models.CharField(
        max_length=255, null=True, blank=True, db_comment="Common to all that belongs together"
    )
    event_type = models.CharField(max_length=255, db_comment="What happened")
    payload = models.JSONField(db_comment="Its details, secrets redacted")
    occurred_at = models.DateTimeField(db_comment="When it happened")
    actor = models.CharField(
        max_length=255, null=True, blank=True, db_comment="Who did it; system for the platform"
    )

    class Meta:
        db_table = "audit_logs"
        db_table_comment = "What happened and who did it; append-only but for retention"
        indexes = [
            models.Index(
                fields=["actor"], condition=Q(actor__isnull=False), name="idx_audit_actor"
            ),
            models.Index(
                fields=["correlation_id"],
                condition=Q(correlation_id__isnull=False),
                name="idx_audit_correlation_id",
            ),
            models.Index(fields=["event_type", "occurred_at"], name="idx_audit_event_occurred"),
            models.Index(fields=["occurred_at"], name="idx_audit_occurred_at"),
        ]
        verbose_name = "audit record"

    def __str__(self) -> str:
        return f"{self.event_type} by {self.actor or 'unknown'}"


class LogFile(models.Model):
    """Where the output of a job is stored, and until when."""

    id = models.UUIDField(
        primary_key=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        db_comment="Id of the log file",
    )
    job = models.ForeignKey(
        Job,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="log_files",
        db_comment="The job; one log file each",
    )
    storage_uri = models.TextField(db_comment="URI to log storage (file://, s3://, etc.)")
    size_bytes = models.BigIntegerField(db_default=0, db_comment="Size of the log file in bytes")
    entry_count = models.IntegerField(db_default=0, db_comment="Number of log entries in the file")
    created_at = models.DateTimeField(db_default=now(), db_comment="When it was stored first")
    expires_at = models.DateTimeField(db_comment="When retention may delete it")

    class Meta:
        db_table = "job_log_files"
        db_table_comment = "Log files of jobs: where they are, how large, and until when"
        constraints = [
            models.UniqueConstraint(fields=["job"], name="uq_job_log_files_job_id"),
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="idx_job_log_files_expires_at"),
            models.Index(fields=["storage_uri"], name="idx_job_log_files_storage_uri"),
        ]
        verbose_name = "log file"

    def __str__(self) -> str:
        return self.storage_uri


class LogTail(models.Model):
    """The end of a running job's output, for whoever follows it from another machine."""

    job = models.OneToOneField(
        Job,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_comment="The job; its tail dies with it",
    )
    tail = models.BinaryField(db_comment="The newest bytes of its output, secrets masked")
    total_bytes = models.BigIntegerField(db_comment="Bytes of output so far; the tail ends there")
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was written last")

    class Meta:
        db_table = "job_log_tails"
        db_table_comment = "The newest output of jobs, bounded; the whole is in the log file"
        verbose_name = "log tail"

    def __str__(self) -> str:
        return f"{self.total_bytes} bytes of {self.job_id}"


class LogGarbage(models.Model):
    """A log file whose row is gone: it is deleted next, so that no file is orphaned."""

    id = models.BigAutoField(primary_key=True, db_comment="Meaningless number")
    storage_uri = models.TextField(db_comment="As it was in job_log_files")
    since = models.DateTimeField(db_default=now(), db_comment="When its row went")

    class Meta:
        db_table = "job_log_garbage"
        db_table_comment = "Log files to delete; filled by a trigger on job_log_files"
        verbose_name = "log file to delete"
        verbose_name_plural = "log files to delete"

    def __str__(self) -> str:
        return self.storage_uri


class BootstrapToken(models.Model):
    """Lets one worker register once. The secret is handed out and never stored."""

    token = models.UUIDField(
        primary_key=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        db_comment="Public id of the token; the secret beside it is stored as a hash",
    )
    worker_id = models.UUIDField(db_comment="The worker it is for, which may not exist yet")
    expires_at = models.DateTimeField(db_comment="Not valid after this time")
    consumed_at = models.DateTimeField(
        null=True, blank=True, db_comment="When the worker registered with it"
    )
    created_at = models.DateTimeField(db_default=now(), db_comment="When it was issued")
    secret_hash = models.CharField(
        max_length=64,
        null=True,
        blank=True,
        db_comment="SHA-256 of the secret, in hex; NULL lets nobody in",
    )

    class Meta:
        db_table = "worker_bootstrap_tokens"
        db_table_comment = "Tokens that let one worker register once"
        indexes = [
            models.Index(
                fields=["worker_id"],
                condition=Q(consumed_at=None),
                name="bootstrap_tokens_worker_idx",
            ),
        ]
        verbose_name = "bootstrap token"

    def __str__(self) -> str:
        return f"for {self.worker_id}"
