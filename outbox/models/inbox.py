"""What consumers have seen."""

from __future__ import annotations

from django.db import models

from hodei.columns import now


class InboxEntry(models.Model):
    """That a consumer has seen an event, written in the transaction of its effect."""

    id = models.BigAutoField(primary_key=True, db_comment="Meaningless number")
    consumer = models.CharField(max_length=100, db_comment="Name of the consumer")
    event_id = models.CharField(max_length=255, db_comment="Id of the event, as it was received")
    received_at = models.DateTimeField(db_default=now(), db_comment="When it was first seen")

    class Meta:
        db_table = "outbox_inbox"
        db_table_comment = "Events that consumers have seen: a second delivery finds its row"
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "event_id"], name="outbox_inbox_consumer_event_key"
            ),
        ]
        indexes = [
            models.Index(fields=["received_at"], name="outbox_inbox_received_idx"),
        ]
        verbose_name = "inbox entry"
        verbose_name_plural = "inbox entries"

    def __str__(self) -> str:
        return f"{self.consumer} {self.event_id}"
