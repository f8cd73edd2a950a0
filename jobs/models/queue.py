"""The queue beside the jobs: what can be claimed, now or later."""

from __future__ import annotations

from django.db import models

from hodei.columns import now
from jobs.models.job import Job


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
