"""The original's tables, exactly: a database made by it is adopted at this migration."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models
from django.db.models import Func


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Saga",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        db_default=RandomUUID(),
                    ),
                ),
                ("saga_type", models.CharField(max_length=20)),
                (
                    "state",
                    models.CharField(
                        max_length=20,
                        choices=[
                            ("PENDING", "Pending"),
                            ("IN_PROGRESS", "In progress"),
                            ("COMPENSATING", "Compensating"),
                            ("COMPLETED", "Completed"),
                            ("FAILED", "Failed"),
                            ("CANCELLED", "Cancelled"),
                        ],
                        db_default="PENDING",
                    ),
                ),
                ("correlation_id", models.CharField(max_length=255, blank=True, null=True)),
                ("actor", models.CharField(max_length=255, blank=True, null=True)),
                (
                    "started_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
                ("completed_at", models.DateTimeField(blank=True, null=True)),
                ("error_message", models.TextField(blank=True, null=True)),
                ("metadata", models.JSONField(blank=True, null=True, db_default={}, default=dict)),
                (
                    "created_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
            ],
            options={
                "db_table": "sagas",
                "db_table_comment": "Saga pattern - long-running transaction management",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(saga_type__in=["PROVISIONING", "EXECUTION", "RECOVERY"]),
                        name="sagas_saga_type_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            state__in=[
                                "PENDING",
                                "IN_PROGRESS",
                                "COMPENSATING",
                                "COMPLETED",
                                "FAILED",
                                "CANCELLED",
                            ]
                        ),
                        name="sagas_state_check",
                    ),
                ],
                "indexes": [
                    models.Index(
                        fields=["correlation_id"],
                        name="idx_sagas_correlation_id",
                        condition=models.Q(correlation_id__isnull=False),
                    ),
                    models.Index(fields=["id"], name="idx_sagas_id"),
                    models.Index(fields=["started_at"], name="idx_sagas_started_at"),
                    models.Index(fields=["state"], name="idx_sagas_state"),
                    models.Index(fields=["saga_type"], name="idx_sagas_type"),
                    models.Index(fields=["saga_type", "state"], name="idx_sagas_type_state"),
                ],
            },
        ),
        migrations.CreateModel(
            name="SagaStep",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        db_default=RandomUUID(),
                    ),
                ),
                (
                    "saga",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="steps",
                        to="sagas.saga",
                    ),
                ),
                ("step_name", models.CharField(max_length=100)),
                ("step_order", models.IntegerField()),
                (
                    "state",
                    models.CharField(
                        max_length=20,
                        choices=[
                            ("PENDING", "Pending"),
                            ("IN_PROGRESS", "In progress"),
                            ("COMPLETED", "Completed"),
                            ("FAILED", "Failed"),
                            ("UNKNOWN", "Unknown"),
                            ("SKIPPED", "Skipped"),
                            ("COMPENSATING", "Compensating"),
                            ("COMPENSATED", "Compensated"),
                            ("PARKED", "Parked"),
                        ],
                        db_default="PENDING",
                    ),
                ),
                ("input_data", models.JSONField(blank=True, null=True)),
                ("output_data", models.JSONField(blank=True, null=True)),
                ("compensation_data", models.JSONField(blank=True, null=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("completed_at", models.DateTimeField(blank=True, null=True)),
                ("error_message", models.TextField(blank=True, null=True)),
                ("retry_count", models.IntegerField(null=True, db_default=0)),
                (
                    "created_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
            ],
            options={
                "db_table": "saga_steps",
                "db_table_comment": "Individual steps in saga execution with compensation support",
                "verbose_name": "step",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            state__in=[
                                "PENDING",
                                "IN_PROGRESS",
                                "COMPLETED",
                                "FAILED",
                                "COMPENSATING",
                                "COMPENSATED",
                            ]
                        ),
                        name="saga_steps_state_check",
                    )
                ],
                "indexes": [
                    models.Index(
                        fields=["state", "step_order"],
                        name="idx_saga_steps_pending",
                        condition=models.Q(state="PENDING"),
                    ),
                    models.Index(fields=["saga"], name="idx_saga_steps_saga_id"),
                    models.Index(fields=["saga", "step_order"], name="idx_saga_steps_saga_order"),
                    models.Index(fields=["state"], name="idx_saga_steps_state"),
                ],
            },
        ),
        migrations.CreateModel(
            name="SagaAuditEvent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        db_default=RandomUUID(),
                    ),
                ),
                (
                    "saga",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="audit_events",
                        to="sagas.saga",
                    ),
                ),
                ("event_type", models.CharField(max_length=50)),
                ("step_name", models.CharField(max_length=100, blank=True, null=True)),
                ("message", models.TextField(blank=True, null=True)),
                ("payload", models.JSONField(blank=True, null=True)),
                (
                    "occurred_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
            ],
            options={
                "db_table": "saga_audit_events",
                "db_table_comment": "Audit trail for saga execution and debugging",
                "verbose_name": "audit event",
                "indexes": [
                    models.Index(fields=["occurred_at"], name="idx_saga_audit_occurred_at"),
                    models.Index(fields=["saga"], name="idx_saga_audit_saga_id"),
                    models.Index(fields=["event_type", "occurred_at"], name="idx_saga_audit_type"),
                ],
            },
        ),
        migrations.RunSQL(
            "ALTER TABLE saga_steps ADD CONSTRAINT saga_steps_saga_id_fkey FOREIGN KEY (saga_id) REFERENCES sagas (id) ON DELETE CASCADE",
            "ALTER TABLE saga_steps DROP CONSTRAINT saga_steps_saga_id_fkey",
        ),
        migrations.RunSQL(
            "ALTER TABLE saga_audit_events ADD CONSTRAINT saga_audit_events_saga_id_fkey FOREIGN KEY (saga_id) REFERENCES sagas (id) ON DELETE CASCADE",
            "ALTER TABLE saga_audit_events DROP CONSTRAINT saga_audit_events_saga_id_fkey",
        ),
    ]
