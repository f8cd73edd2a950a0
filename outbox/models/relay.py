"""Relays at work, and the lanes that they lease."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from outbox.states import BreakerState


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
