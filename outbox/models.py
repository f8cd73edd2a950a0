"""The tables of the outbox: events, dead letters, and what relays and consumers keep.

Rows are written by services; nothing here decides anything.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import F, Func, Q, Value

from hodei.columns import StoredField, choices, now, values
from outbox.states import BreakerState, DeadLetterAction, EventStatus, KeyState


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
            models.Index(fields=["aggregate_type", "aggregate_id"], name="idx_outbox_aggregate"),
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


class Lane(models.Model):
    """A share of one destination's events, leased by one relay at a time."""

    id = models.BigAutoField(primary_key=True, db_comment="Meaningless number")
    destination = models.CharField(max_length=50, db_comment="As in outbox_events")
    lane = models.SmallIntegerField(db_comment="0 to 63, as in outbox_events")
    owner = models.CharField(
        max_length=255, null=True, blank=True, db_comment="The relay that holds it, or held it last"
    )
    fence = models.BigIntegerField(
        db_default=0, db_comment="Grows with each lease; a write with an older one does nothing"
    )
    leased_until = models.DateTimeField(
        null=True, blank=True, db_comment="End of the lease; anybody may take it after that"
    )

    class Meta:
        db_table = "outbox_lanes"
        db_table_comment = "Which relay delivers which share of a destination's events"
        constraints = [
            models.UniqueConstraint(fields=["destination", "lane"], name="outbox_lanes_lane_key"),
            models.CheckConstraint(
                condition=Q(lane__gte=0, lane__lte=63), name="outbox_lanes_lane_range"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.destination} {self.lane}"


class Relay(models.Model):
    """A relay at work on a destination: one row each, renewed with its leases."""

    id = models.BigAutoField(primary_key=True, db_comment="Meaningless number")
    destination = models.CharField(max_length=50, db_comment="As in outbox_events")
    owner = models.CharField(max_length=255, db_comment="As in outbox_lanes")
    started_at = models.DateTimeField(db_default=now(), db_comment="When it began")
    seen_at = models.DateTimeField(
        db_default=now(), db_comment="Last sign of life; one that is long gone is dead"
    )
    wakes_by = models.CharField(
        max_length=20, db_default="polling", db_comment="notify, or polling behind a pooler"
    )
    breaker = models.CharField(
        max_length=20,
        choices=choices(BreakerState),
        db_default=BreakerState.CLOSED.value,
        db_comment="OPEN: the destination is down, and nothing is sent until it answers again",
    )
    breaker_since = models.DateTimeField(
        null=True, blank=True, db_comment="Since when it is open; NULL while closed"
    )
    breaker_error = models.TextField(
        null=True, blank=True, db_comment="What the destination said last, cut and redacted"
    )

    class Meta:
        db_table = "outbox_relays"
        db_table_comment = "Relays at work, and whether they reach their destination"
        constraints = [
            models.UniqueConstraint(
                fields=["destination", "owner"], name="outbox_relays_owner_key"
            ),
            models.CheckConstraint(
                condition=Q(breaker__in=values(BreakerState)), name="outbox_relays_breaker_check"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.owner} on {self.destination}"


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
