"""Attempts of steps, and the resources that sagas hold."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Func

from hodei.schema.operations import MoveRows


class Migration(migrations.Migration):
    dependencies = [("sagas", "0002_columns")]

    operations = [
        migrations.CreateModel(
            name="SagaStepAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "step",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="attempts",
                        to="sagas.sagastep",
                    ),
                ),
                (
                    "direction",
                    models.CharField(
                        choices=[("FORWARD", "Forward"), ("COMPENSATION", "Compensation")],
                        max_length=20,
                    ),
                ),
                ("number", models.IntegerField()),
                ("lease_epoch", models.BigIntegerField()),
                ("runner", models.CharField(blank=True, max_length=255, null=True)),
                (
                    "started_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("error_class", models.CharField(blank=True, max_length=255, null=True)),
                ("error_message", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "saga_step_attempts",
                "verbose_name": "step attempt",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(direction__in=["FORWARD", "COMPENSATION"]),
                        name="saga_step_attempts_direction_check",
                    ),
                    models.UniqueConstraint(
                        fields=["step", "direction", "number"], name="saga_step_attempts_number_key"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SagaLock",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("resource_type", models.CharField(max_length=50)),
                ("resource_id", models.CharField(max_length=255)),
                (
                    "saga",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="locks",
                        to="sagas.saga",
                    ),
                ),
                (
                    "acquired_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
            ],
            options={
                "db_table": "saga_locks",
                "verbose_name": "lock",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["resource_type", "resource_id"], name="saga_locks_resource_key"
                    ),
                ],
                "indexes": [models.Index(fields=["saga"], name="saga_locks_saga_idx")],
            },
        ),
        migrations.RunSQL(
            [
                "ALTER TABLE saga_step_attempts ADD CONSTRAINT saga_step_attempts_step_id_fkey FOREIGN KEY (step_id) REFERENCES saga_steps (id) ON DELETE CASCADE",
                "ALTER TABLE saga_locks ADD CONSTRAINT saga_locks_saga_id_fkey FOREIGN KEY (saga_id) REFERENCES sagas (id) ON DELETE CASCADE",
            ],
            [
                "ALTER TABLE saga_locks DROP CONSTRAINT saga_locks_saga_id_fkey",
                "ALTER TABLE saga_step_attempts DROP CONSTRAINT saga_step_attempts_step_id_fkey",
            ],
        ),
        # What was tried, and when, is kept when the table goes.
        MoveRows([("saga_step_attempts", "the baseline has no such table", "true")]),
    ]
