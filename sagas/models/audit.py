"""The audit: what happened to sagas, for good."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models

from hodei.columns import now
from sagas.models.saga import Saga


class SagaAuditEvent(models.Model):
    """Something that happened to a saga, for good: it outlives the saga itself."""

    id = models.UUIDField(
        primary_key=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        db_comment="Id of the record",
    )
    saga = models.ForeignKey(
        Saga,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="audit_events",
        db_comment="sagas.id; the saga may be gone",
    )
    event_type = models.CharField(max_length=50, db_comment="What happened")
    step_name = models.CharField(
        max_length=100, null=True, blank=True, db_comment="To which step; NULL is the saga"
    )
    message = models.TextField(null=True, blank=True, db_comment="In words, for people")
    payload = models.JSONField(null=True, blank=True, db_comment="Actor, reason, before and after")
    occurred_at = models.DateTimeField(db_default=now(), db_comment="When it happened")

    class Meta:
        db_table = "saga_audit_events"
        db_table_comment = "What happened to sagas; append-only but for retention"
        indexes = [
            models.Index(fields=["occurred_at"], name="idx_saga_audit_occurred_at"),
            models.Index(fields=["saga"], name="idx_saga_audit_saga_id"),
            models.Index(fields=["event_type", "occurred_at"], name="idx_saga_audit_type"),
        ]
        verbose_name = "audit event"

    def __str__(self) -> str:
        return f"{self.event_type} of {self.saga_id}"
