"""Schedules: jobs that are enqueued again and again."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from jobs.states import (
    Missed,
    Overlap,
)


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
