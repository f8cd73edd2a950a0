"""Steps of sagas, and the tries of each."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from sagas.models.saga import Saga
from sagas.states import Direction, StepState


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
