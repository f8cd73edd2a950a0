"""The audit: what happened, for good."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q


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
