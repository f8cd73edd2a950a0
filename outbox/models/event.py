"""Events, as they are stored until they are published."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import F, Func, Q, Value

from hodei.columns import StoredField, choices, now, values
from hodei.indexes import SeparateIndex
from outbox.states import EventStatus


class Event(models.Model):
    """Something that happened to an aggregate, written in the transaction that made it happen."""

    id = models.UUIDField(
        primary_key=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        db_comment="Public id: the CloudEvents id, and what consumers deduplicate by",
    )
    aggregate_id = models.UUIDField(
        db_comment="What the event is about; order is kept per aggregate"
    )
    aggregate_type = models.CharField(max_length=20, db_comment="Kind of the aggregate")
    event_type = models.CharField(max_length=50, db_comment="What happened, as a past tense name")
    event_version = models.IntegerField(
        db_default=1, db_comment="Version of the payload's shape for this event type"
    )
    payload = models.JSONField(db_comment="What happened, as consumers get it")
    metadata = models.JSONField(
        null=True, blank=True, db_comment="Correlation id, trace parent and other headers"
    )
    idempotency_key = models.CharField(
        max_length=100,
        null=True,
        blank=True,
        db_comment="Unique key to prevent duplicate event processing",
    )
    created_at = models.DateTimeField(
        db_default=now(), db_comment="Start of the transaction that wrote the event"
    )
    published_at = models.DateTimeField(
        null=True, blank=True, db_comment="When the publisher confirmed it; NULL until then"
    )
    status = models.CharField(
        max_length=20,
        choices=choices(EventStatus),
        db_default=EventStatus.PENDING.value,
        db_comment="PENDING: waits for its relay, PUBLISHED: confirmed, FAILED: a dead letter",
    )
    retry_count = models.IntegerField(
        db_default=0, db_comment="Rejected attempts so far; an outage of the broker spends none"
    )
    last_error = models.TextField(
        null=True, blank=True, db_comment="Text of the newest failure, cut and redacted"
    )
    seq = models.BigIntegerField(
        db_default=Func(
            Value("outbox_events_seq_seq"),
            function="nextval",
            output_field=models.BigIntegerField(),
        ),
        editable=False,
        db_comment="Order within an aggregate; gaps mean nothing",
    )
    lane = StoredField(
        expression=Func(
            F("aggregate_id"),
            template="((get_byte(uuid_send(%(expressions)s), 15) & 63))::smallint",
            output_field=models.SmallIntegerField(),
        ),
        output_field=models.SmallIntegerField(),
        db_persist=True,
        db_comment="0 to 63, from the last byte of aggregate_id: the unit that a relay leases",
    )
    aggregate_key = models.TextField(
        null=True, blank=True, db_comment="The caller's own key where it is not a UUID"
    )
    destination = models.CharField(
        max_length=50, db_default="default", db_comment="The one publisher that delivers it"
    )
    next_attempt_at = models.DateTimeField(
        null=True, blank=True, db_comment="Not before this time; NULL is at once"
    )
    held = models.BooleanField(
        db_default=False,
        db_comment="Waits behind the event that its aggregate stumbled over: see outbox_keys",
    )
    attempts_started = models.IntegerField(
        db_default=0, db_comment="Attempts begun; more than finished means a crash in between"
    )
    attempts_finished = models.IntegerField(
        db_default=0, db_comment="Attempts that came back, whatever they said"
    )
    error_class = models.CharField(
        max_length=255, null=True, blank=True, db_comment="Class of the newest failure"
    )
    fingerprint = models.CharField(
        max_length=64,
        null=True,
        blank=True,
        db_comment="Groups failures that differ only in ids and numbers",
    )

    class Meta:
        db_table = "outbox_events"
        db_table_comment = "Events written with the data they tell of, until they are published"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=values(EventStatus)),
                name="outbox_events_status_check",
            ),
            models.UniqueConstraint(
                fields=["idempotency_key"], name="outbox_events_idempotency_key_key"
            ),
        ]
        indexes = [
            SeparateIndex(fields=["aggregate_type", "aggregate_id"], name="idx_outbox_aggregate"),
            models.Index(fields=["event_type", "created_at"], name="idx_outbox_event_type"),
            models.Index(
                fields=["destination", "lane", "seq"],
                condition=Q(status="PENDING", held=False),
                name="outbox_events_pending_idx",
            ),
            models.Index(
                fields=["aggregate_id", "seq"],
                condition=Q(held=True),
                name="outbox_events_held_idx",
            ),
            models.Index(fields=["-seq"], name="outbox_events_newest_idx"),
            models.Index(
                fields=["published_at"],
                condition=Q(status="PUBLISHED"),
                name="outbox_events_published_idx",
            ),
            # With a condition that no relay names: see the migration 0018.
            models.Index(
                fields=["created_at"],
                condition=Q(status="PENDING", published_at=None),
                name="outbox_events_oldest_idx",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} of {self.aggregate_type} {self.aggregate_id} ({self.id})"
