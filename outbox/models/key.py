"""Aggregates whose events are held back."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from outbox.states import KeyState


class TroubledKey(models.Model):
    """An aggregate whose next event waits: for its retry time, or for a person."""

    id = models.BigAutoField(primary_key=True, db_comment="Meaningless number")
    destination = models.CharField(max_length=50, db_comment="As in outbox_events")
    lane = models.SmallIntegerField(db_comment="As in outbox_events")
    aggregate_type = models.CharField(max_length=20, db_comment="As in outbox_events")
    aggregate_id = models.UUIDField(db_comment="As in outbox_events")
    state = models.CharField(
        max_length=20,
        choices=choices(KeyState),
        db_comment="BACKOFF: waits for retry_at, PARKED: waits until the dead letter is dealt with",
    )
    event_id = models.UUIDField(
        db_comment="outbox_events.id of the one that must go first, or that died"
    )
    retry_at = models.DateTimeField(
        null=True, blank=True, db_comment="End of the back-off; NULL while parked"
    )
    dead_letter_id = models.UUIDField(
        null=True, blank=True, db_comment="outbox_dlq.id of the event that died"
    )
    since = models.DateTimeField(db_default=now(), db_comment="Since when it is held back")

    class Meta:
        db_table = "outbox_keys"
        db_table_comment = "Aggregates whose events are held back; all others have no row"
        constraints = [
            models.UniqueConstraint(
                fields=["destination", "aggregate_type", "aggregate_id"],
                name="outbox_keys_aggregate_key",
            ),
            models.CheckConstraint(
                condition=Q(state__in=values(KeyState)), name="outbox_keys_state_check"
            ),
        ]
        indexes = [
            models.Index(
                fields=["destination", "lane", "retry_at"],
                condition=Q(retry_at__isnull=False),
                name="outbox_keys_due_idx",
            ),
            models.Index(fields=["event_id"], name="outbox_keys_event_idx"),
        ]
        verbose_name = "troubled key"

    def __str__(self) -> str:
        return f"{self.state} {self.aggregate_type} {self.aggregate_id}"
