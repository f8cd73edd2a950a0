"""Dead letters, and what was done with them."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from outbox.states import DeadLetterAction


class DeadLetter(models.Model):
    """A copy of an event that could not be published, and what became of it.

    One row per event: a second death opens the same row again, and its story is in the actions.
    """

    id = models.UUIDField(
        primary_key=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        db_comment="Id of the dead letter itself",
    )
    original_event_id = models.UUIDField(db_comment="Reference to the original outbox_events.id")
    aggregate_id = models.UUIDField(db_comment="As in outbox_events")
    aggregate_type = models.CharField(max_length=20, db_comment="As in outbox_events")
    event_type = models.CharField(max_length=50, db_comment="As in outbox_events")
    payload = models.JSONField(db_comment="As in outbox_events")
    metadata = models.JSONField(null=True, blank=True, db_comment="As in outbox_events")
    error_message = models.TextField(db_comment="Why it was given up, cut and redacted")
    retry_count = models.IntegerField(db_comment="Attempts spent when it was given up")
    original_created_at = models.DateTimeField(db_comment="created_at of the event")
    moved_at = models.DateTimeField(db_default=now(), db_comment="When it died, the newest time")
    resolved_at = models.DateTimeField(
        null=True, blank=True, db_comment="When it was dealt with; NULL while it is open"
    )
    resolution_notes = models.TextField(
        null=True, blank=True, db_comment="What the person who dealt with it wrote"
    )
    resolved_by = models.CharField(
        max_length=100, null=True, blank=True, db_comment="Who dealt with it"
    )
    seq = models.BigIntegerField(
        null=True, blank=True, db_comment="seq of the event: a requeued one keeps its place"
    )
    event_version = models.IntegerField(db_default=1, db_comment="As in outbox_events")
    idempotency_key = models.CharField(
        max_length=100, null=True, blank=True, db_comment="As in outbox_events"
    )
    aggregate_key = models.TextField(null=True, blank=True, db_comment="As in outbox_events")
    destination = models.CharField(
        max_length=50, db_default="default", db_comment="As in outbox_events"
    )
    error_class = models.CharField(
        max_length=255, null=True, blank=True, db_comment="As in outbox_events"
    )
    fingerprint = models.CharField(
        max_length=64, null=True, blank=True, db_comment="As in outbox_events"
    )

    class Meta:
        db_table = "outbox_dlq"
        permissions = [
            ("operate_deadletter", "Can decide about dead letters"),
            ("resend_deadletter", "Can send changed copies of dead letters"),
        ]
        db_table_comment = "Dead letters: events that were given up, and what became of them"
        constraints = [
            models.UniqueConstraint(
                fields=["original_event_id"], name="outbox_dlq_original_event_id_key"
            ),
        ]
        indexes = [
            models.Index(fields=["aggregate_type", "aggregate_id"], name="idx_dlq_aggregate"),
            models.Index(fields=["event_type", "moved_at"], name="idx_dlq_event_type"),
            models.Index(fields=["-moved_at"], name="idx_dlq_moved_at"),
            models.Index(
                fields=["moved_at"], condition=Q(resolved_at__isnull=True), name="idx_dlq_status"
            ),
            models.Index(
                fields=["fingerprint", "moved_at"],
                condition=Q(resolved_at__isnull=True),
                name="outbox_dlq_fingerprint_idx",
            ),
        ]
        verbose_name = "dead letter"

    def __str__(self) -> str:
        return f"{self.event_type} of {self.aggregate_type} {self.aggregate_id} ({self.id})"


class DeadLetterActionRecord(models.Model):
    """One death of an event, or one thing that a person did with its dead letter."""

    id = models.BigAutoField(primary_key=True, db_comment="Order in which actions were taken")
    dead_letter = models.ForeignKey(
        DeadLetter,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="actions",
        db_column="dlq_id",
        db_comment="The dead letter; its actions go with it",
    )
    action = models.CharField(
        max_length=20,
        choices=choices(DeadLetterAction),
        db_comment="What happened, or what was done",
    )
    actor = models.CharField(
        max_length=100, db_default="system", db_comment="Who did it; system for the relay"
    )
    note = models.TextField(null=True, blank=True, db_comment="Why")
    batch_id = models.UUIDField(
        null=True, blank=True, db_comment="Common to what one bulk action did"
    )
    details = models.JSONField(
        null=True, blank=True, db_comment="Error of a death, id of a resent copy"
    )
    occurred_at = models.DateTimeField(db_default=now(), db_comment="When")

    class Meta:
        db_table = "outbox_dlq_actions"
        db_table_comment = "What happened to dead letters: deaths, and what people did"
        constraints = [
            models.CheckConstraint(
                condition=Q(action__in=values(DeadLetterAction)),
                name="outbox_dlq_actions_action_check",
            ),
        ]
        indexes = [
            models.Index(fields=["dead_letter", "id"], name="outbox_dlq_actions_entry_idx"),
        ]
        verbose_name = "dead letter action"

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"
