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
            name="Event",
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
                ("aggregate_id", models.UUIDField()),
                ("aggregate_type", models.CharField(max_length=20)),
                ("event_type", models.CharField(max_length=50)),
                ("event_version", models.IntegerField(null=True, db_default=1)),
                ("payload", models.JSONField()),
                ("metadata", models.JSONField(blank=True, null=True)),
                (
                    "idempotency_key",
                    models.CharField(
                        max_length=100,
                        blank=True,
                        null=True,
                        db_comment="Unique key to prevent duplicate event processing",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
                ("published_at", models.DateTimeField(blank=True, null=True)),
                (
                    "status",
                    models.CharField(
                        max_length=20,
                        choices=[
                            ("PENDING", "Pending"),
                            ("PUBLISHED", "Published"),
                            ("FAILED", "Failed"),
                        ],
                        null=True,
                        db_default="PENDING",
                        db_comment="PENDING: not published, PUBLISHED: sent to event bus, FAILED: retried exceeded",
                    ),
                ),
                ("retry_count", models.IntegerField(null=True, db_default=0)),
                ("last_error", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "outbox_events",
                "db_table_comment": "Transactional Outbox Pattern - stores domain events for reliable publishing",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            aggregate_type__in=["JOB", "WORKER", "PROVIDER", "SAGA"]
                        ),
                        name="outbox_events_aggregate_type_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(status__in=["PENDING", "PUBLISHED", "FAILED"]),
                        name="outbox_events_status_check",
                    ),
                    models.UniqueConstraint(
                        fields=["idempotency_key"], name="outbox_events_idempotency_key_key"
                    ),
                ],
                "indexes": [
                    models.Index(
                        fields=["aggregate_type", "aggregate_id"], name="idx_outbox_aggregate"
                    ),
                    models.Index(fields=["event_type", "created_at"], name="idx_outbox_event_type"),
                    models.Index(
                        fields=["status", "retry_count"],
                        name="idx_outbox_pending_retries",
                        condition=models.Q(status="PENDING"),
                    ),
                    models.Index(
                        fields=["status", "created_at"],
                        name="idx_outbox_status_created",
                        condition=models.Q(status="PENDING"),
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DeadLetter",
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
                    "original_event_id",
                    models.UUIDField(db_comment="Reference to the original outbox_events.id"),
                ),
                ("aggregate_id", models.UUIDField()),
                ("aggregate_type", models.CharField(max_length=20)),
                ("event_type", models.CharField(max_length=50)),
                ("payload", models.JSONField()),
                ("metadata", models.JSONField(blank=True, null=True)),
                ("error_message", models.TextField()),
                ("retry_count", models.IntegerField()),
                ("original_created_at", models.DateTimeField()),
                (
                    "moved_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
                (
                    "resolved_at",
                    models.DateTimeField(
                        blank=True, null=True, db_comment="When the event was manually resolved"
                    ),
                ),
                ("resolution_notes", models.TextField(blank=True, null=True)),
                ("resolved_by", models.CharField(max_length=100, blank=True, null=True)),
            ],
            options={
                "db_table": "outbox_dlq",
                "db_table_comment": "Dead Letter Queue - stores events that failed to publish after max retries",
                "verbose_name": "dead letter",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            aggregate_type__in=["JOB", "WORKER", "PROVIDER", "SAGA"]
                        ),
                        name="outbox_dlq_aggregate_type_check",
                    ),
                    models.UniqueConstraint(
                        fields=["original_event_id"], name="outbox_dlq_original_event_id_key"
                    ),
                ],
                "indexes": [
                    models.Index(
                        fields=["aggregate_type", "aggregate_id"], name="idx_dlq_aggregate"
                    ),
                    models.Index(fields=["event_type", "moved_at"], name="idx_dlq_event_type"),
                    models.Index(fields=["-moved_at"], name="idx_dlq_moved_at"),
                    models.Index(
                        fields=["moved_at"],
                        name="idx_dlq_status",
                        condition=models.Q(resolved_at__isnull=True),
                    ),
                ],
            },
        ),
    ]
