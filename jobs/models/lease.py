"""Leases: who runs a job now."""

from __future__ import annotations

from django.db import models

from hodei.columns import now
from jobs.models.job import Job


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
    place = models.BigIntegerField(
        null=True,
        blank=True,
        db_comment="job_queue.id of the job, which it has again if it is given back unstarted",
    )
    enqueued_at = models.DateTimeField(
        null=True, blank=True, db_comment="As it was in job_queue: since when it waits"
    )

    class Meta:
        db_table = "job_leases"
        db_table_comment = "Jobs that workers hold now, each until its lease expires"
        indexes = [
            models.Index(fields=["expires_at"], name="job_leases_expires_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} by {self.worker_id} until {self.expires_at}"
