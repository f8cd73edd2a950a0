"""Kinds that applications name, and states that say what nobody knows, waits or was skipped."""

from __future__ import annotations

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

from hodei.schema.operations import MoveRows


class Migration(migrations.Migration):
    dependencies = [("sagas", "0003_side_tables")]

    operations = [
        migrations.RemoveConstraint("saga", "sagas_saga_type_check"),
        migrations.AlterField("saga", "saga_type", models.CharField(max_length=100)),
        AddConstraintNotValid(
            "saga",
            models.CheckConstraint(
                condition=models.Q(
                    outcome__in=["COMPLETED", "COMPENSATED", "COMPENSATION_FAILED", "CANCELLED"]
                ),
                name="sagas_outcome_check",
            ),
        ),
        migrations.RemoveConstraint("sagastep", "saga_steps_state_check"),
        AddConstraintNotValid(
            "sagastep",
            models.CheckConstraint(
                condition=models.Q(
                    state__in=[
                        "PENDING",
                        "IN_PROGRESS",
                        "COMPLETED",
                        "FAILED",
                        "UNKNOWN",
                        "SKIPPED",
                        "COMPENSATING",
                        "COMPENSATED",
                        "PARKED",
                    ]
                ),
                name="saga_steps_state_check",
            ),
        ),
        # A saga without one of its steps would be another saga: it moves whole.
        MoveRows(
            [
                (
                    "sagas",
                    "kinds that only head knows",
                    "saga_type NOT IN ('PROVISIONING', 'EXECUTION', 'RECOVERY')",
                ),
                (
                    "sagas",
                    "steps in states that only head knows",
                    "id IN (SELECT saga_id FROM saga_steps WHERE state IN ('UNKNOWN', 'SKIPPED', 'PARKED'))",
                ),
            ]
        ),
    ]
