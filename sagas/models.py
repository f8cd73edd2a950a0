"""The tables of the sagas app: sagas, steps and their attempts, locks and the audit.

Foreign keys have no constraint in Django's eyes: the database's own are set by migrations.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from sagas.states import SAGA_LIVE, Direction, SagaOutcome, SagaState, StepState


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

    class Meta:
        db_table = "sagas"
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
        ]

    def __str__(self) -> str:
        return f"{self.saga_type} {self.id} ({self.outcome or self.state})"


class SagaStep(models.Model):
    """One step of a saga: stored before it acts, and again after."""

    id = models.UUIDField(
        primary_key=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        db_comment="Id of the step, and its idempotency key towards others",
    )
    saga = models.ForeignKey(
        Saga,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="steps",
        db_comment="The saga; its steps go with it",
    )
    step_name = models.CharField(max_length=100, db_comment="Name in the definition")
    step_order = models.IntegerField(db_comment="Place in the definition")
    state = models.CharField(
        max_length=20,
        choices=choices(StepState),
        db_default=StepState.PENDING.value,
        db_comment="Where the step is; UNKNOWN is done or not, nobody has said",
    )
    input_data = models.JSONField(null=True, blank=True, db_comment="What its action got")
    output_data = models.JSONField(null=True, blank=True, db_comment="What its action returned")
    compensation_data = models.JSONField(
        null=True, blank=True, db_comment="What its compensation returned"
    )
    started_at = models.DateTimeField(
        null=True, blank=True, db_comment="Begin of the first attempt"
    )
    completed_at = models.DateTimeField(
        null=True, blank=True, db_comment="When its action was done"
    )
    error_message = models.TextField(null=True, blank=True, db_comment="The newest failure")
    retry_count = models.IntegerField(db_default=0, db_comment="Attempts after the first")
    compensation_attempts = models.IntegerField(
        db_default=0, db_comment="How often its compensation was begun"
    )
    verifications = models.IntegerField(
        db_default=0, db_comment="How often its verification could not tell"
    )
    waits = models.IntegerField(
        db_default=0, db_comment="How often the present attempt asked to be called later"
    )
    due_at = models.DateTimeField(
        null=True, blank=True, db_comment="Not to be tried again before; NULL is at once"
    )
    timeout_at = models.DateTimeField(
        null=True, blank=True, db_comment="By when the present call has to be back"
    )
    deadline_at = models.DateTimeField(
        null=True, blank=True, db_comment="By when all its attempts together have to be over"
    )
    created_at = models.DateTimeField(db_default=now(), db_comment="When the row was written")
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was changed last")

    class Meta:
        db_table = "saga_steps"
        db_table_comment = "Steps of sagas, stored before and after they act"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=values(StepState)), name="saga_steps_state_check"
            ),
            models.UniqueConstraint(fields=["saga", "step_order"], name="saga_steps_order_key"),
            models.UniqueConstraint(fields=["saga", "step_name"], name="saga_steps_name_key"),
        ]
        indexes = [
            models.Index(
                fields=["state", "step_order"],
                condition=Q(state="PENDING"),
                name="idx_saga_steps_pending",
            ),
            models.Index(fields=["state"], name="idx_saga_steps_state"),
        ]
        verbose_name = "step"

    def __str__(self) -> str:
        return f"{self.step_order} {self.step_name} ({self.state})"


class SagaStepAttempt(models.Model):
    """One try of a step's action or compensation, for good."""

    id = models.BigAutoField(primary_key=True, db_comment="Order of the attempts")
    step = models.ForeignKey(
        SagaStep,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="attempts",
        db_comment="The step; its attempts go with it",
    )
    direction = models.CharField(
        max_length=20, choices=choices(Direction), db_comment="Which half of the step was tried"
    )
    number = models.IntegerField(db_comment="1 for the first try in that direction")
    lease_epoch = models.BigIntegerField(db_comment="Lease of the saga under which it ran")
    runner = models.CharField(
        max_length=255, null=True, blank=True, db_comment="The runner that tried"
    )
    started_at = models.DateTimeField(db_default=now(), db_comment="When it began")
    finished_at = models.DateTimeField(
        null=True, blank=True, db_comment="When it came back; NULL after a crash"
    )
    error_class = models.CharField(
        max_length=255, null=True, blank=True, db_comment="Class of the failure"
    )
    error_message = models.TextField(null=True, blank=True, db_comment="Text of the failure")

    class Meta:
        db_table = "saga_step_attempts"
        db_table_comment = "Tries of steps and of their compensations"
        constraints = [
            models.CheckConstraint(
                condition=Q(direction__in=values(Direction)),
                name="saga_step_attempts_direction_check",
            ),
            models.UniqueConstraint(
                fields=["step", "direction", "number"], name="saga_step_attempts_number_key"
            ),
        ]
        verbose_name = "step attempt"

    def __str__(self) -> str:
        return f"{self.direction} {self.number}"


class SagaLock(models.Model):
    """A resource that one saga holds, so that no second one works on it."""

    id = models.BigAutoField(primary_key=True, db_comment="Meaningless number")
    resource_type = models.CharField(max_length=50, db_comment="Kind of the resource")
    resource_id = models.CharField(max_length=255, db_comment="Which one")
    saga = models.ForeignKey(
        Saga,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="locks",
        db_comment="The holder; its locks go with it",
    )
    acquired_at = models.DateTimeField(db_default=now(), db_comment="Since when")

    class Meta:
        db_table = "saga_locks"
        db_table_comment = "Resources that live sagas hold, one holder each"
        constraints = [
            models.UniqueConstraint(
                fields=["resource_type", "resource_id"], name="saga_locks_resource_key"
            ),
        ]
        indexes = [
            models.Index(fields=["saga"], name="saga_locks_saga_idx"),
        ]
        verbose_name = "lock"

    def __str__(self) -> str:
        return f"{self.resource_type} {self.resource_id}"


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
