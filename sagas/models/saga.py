"""Sagas: runs of definitions."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from sagas.states import SAGA_LIVE, SagaOutcome, SagaState


class Saga(models.Model):
    """One run of a definition: which way it goes, who drives it, and how it ended."""

    id = models.UUIDField(
        primary_key=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        db_comment="Id of the saga",
    )
    saga_type = models.CharField(max_length=100, db_comment="Kind: the name of its definition")
    state = models.CharField(
        max_length=20,
        choices=choices(SagaState),
        db_default=SagaState.PENDING.value,
        db_comment="Direction and end; COMPENSATING never turns forward again",
    )
    correlation_id = models.CharField(
        max_length=255, null=True, blank=True, db_comment="Common to all that belongs together"
    )
    actor = models.CharField(max_length=255, null=True, blank=True, db_comment="Who started it")
    started_at = models.DateTimeField(db_default=now(), db_comment="When it was started")
    completed_at = models.DateTimeField(null=True, blank=True, db_comment="When it reached its end")
    error_message = models.TextField(
        null=True, blank=True, db_comment="Why it turned back or failed"
    )
    metadata = models.JSONField(
        null=True,
        blank=True,
        default=dict,
        db_default={},
        db_comment="Its input, and what a repair kept",
    )
    created_at = models.DateTimeField(db_default=now(), db_comment="When the row was written")
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was changed last")
    outcome = models.CharField(
        max_length=30,
        null=True,
        blank=True,
        choices=choices(SagaOutcome),
        db_comment="How it ended: tells a rollback from success; NULL while it is live",
    )
    definition_version = models.IntegerField(
        db_default=1, db_comment="Version of the definition it was started with"
    )
    steps_hash = models.CharField(
        max_length=64, null=True, blank=True, db_comment="SHA-256 of that definition's steps"
    )
    business_key = models.CharField(
        max_length=255,
        null=True,
        blank=True,
        db_comment="One live saga per kind and key; NULL is no limit",
    )
    deadline_at = models.DateTimeField(
        null=True, blank=True, db_comment="It turns back if it is not done by then"
    )
    pause_requested_at = models.DateTimeField(
        null=True, blank=True, db_comment="Rests at the next step border; NULL is not paused"
    )
    cancel_requested_at = models.DateTimeField(
        null=True, blank=True, db_comment="Compensates from the next step border"
    )
    lease_owner = models.CharField(
        max_length=255, null=True, blank=True, db_comment="The runner that drives it"
    )
    lease_epoch = models.BigIntegerField(
        db_default=0, db_comment="Grows with each lease; a write with an older one does nothing"
    )
    lease_until = models.DateTimeField(
        null=True, blank=True, db_comment="End of the lease; NULL is free"
    )
    trace_parent = models.CharField(
        max_length=55, null=True, blank=True, db_comment="W3C traceparent of the starting code"
    )
    due_at = models.DateTimeField(
        null=True,
        blank=True,
        db_comment="When a runner takes it next; the end of a lease; NULL is not by itself",
    )
    incident = models.TextField(
        null=True, blank=True, db_comment="Why it waits for a person; NULL is that it does not"
    )
    lost_leases = models.IntegerField(
        db_default=0,
        db_comment="Runners in a row that vanished with it, and it had not got on",
    )

    class Meta:
        db_table = "sagas"
        permissions = [("operate_saga", "Can decide about sagas")]
        db_table_comment = "Runs of saga definitions, from start to outcome"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=values(SagaState)), name="sagas_state_check"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=values(SagaOutcome)), name="sagas_outcome_check"
            ),
            models.UniqueConstraint(
                fields=["saga_type", "business_key"],
                condition=Q(
                    business_key__isnull=False,
                    state__in=[state.value for state in SagaState if state in SAGA_LIVE],
                ),
                name="sagas_one_live_per_key",
            ),
        ]
        indexes = [
            models.Index(
                fields=["correlation_id"],
                condition=Q(correlation_id__isnull=False),
                name="idx_sagas_correlation_id",
            ),
            models.Index(fields=["started_at"], name="idx_sagas_started_at"),
            models.Index(fields=["state"], name="idx_sagas_state"),
            models.Index(fields=["saga_type", "state"], name="idx_sagas_type_state"),
            models.Index(
                fields=["saga_type", "definition_version", "state", "due_at"],
                condition=Q(state__in=[state.value for state in SagaState if state in SAGA_LIVE]),
                name="sagas_live_idx",
            ),
            models.Index(
                fields=["due_at"],
                condition=Q(lost_leases__gt=1, state__in=["IN_PROGRESS", "COMPENSATING"]),
                name="sagas_suspect_idx",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.saga_type} {self.id} ({self.outcome or self.state})"
