"""What relays, operators and consumers keep beside the events."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Func

from hodei.schema.operations import MoveRows


class Migration(migrations.Migration):
    dependencies = [("outbox", "0003_lane")]

    operations = [
        migrations.CreateModel(
            name="DeadLetterActionRecord",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "dead_letter",
                    models.ForeignKey(
                        db_column="dlq_id",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="actions",
                        to="outbox.deadletter",
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("DIED", "Died"),
                            ("REQUEUED", "Requeued"),
                            ("RESOLVED", "Resolved"),
                            ("DISCARDED", "Discarded"),
                            ("RESTORED", "Restored"),
                            ("RESENT", "Resent"),
                        ],
                        max_length=20,
                    ),
                ),
                ("actor", models.CharField(db_default="system", max_length=100)),
                ("note", models.TextField(blank=True, null=True)),
                ("batch_id", models.UUIDField(blank=True, null=True)),
                ("details", models.JSONField(blank=True, null=True)),
                (
                    "occurred_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
            ],
            options={
                "db_table": "outbox_dlq_actions",
                "verbose_name": "dead letter action",
                "indexes": [
                    models.Index(fields=["dead_letter", "id"], name="outbox_dlq_actions_entry_idx")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            action__in=[
                                "DIED",
                                "REQUEUED",
                                "RESOLVED",
                                "DISCARDED",
                                "RESTORED",
                                "RESENT",
                            ]
                        ),
                        name="outbox_dlq_actions_action_check",
                    )
                ],
            },
        ),
        migrations.RunSQL(
            "ALTER TABLE outbox_dlq_actions ADD CONSTRAINT outbox_dlq_actions_dlq_id_fkey FOREIGN KEY (dlq_id) REFERENCES outbox_dlq (id) ON DELETE CASCADE",
            "ALTER TABLE outbox_dlq_actions DROP CONSTRAINT outbox_dlq_actions_dlq_id_fkey",
        ),
        migrations.CreateModel(
            name="Lane",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("destination", models.CharField(max_length=50)),
                ("lane", models.SmallIntegerField()),
                ("owner", models.CharField(blank=True, max_length=255, null=True)),
                ("fence", models.BigIntegerField(db_default=0)),
                ("leased_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "outbox_lanes",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["destination", "lane"], name="outbox_lanes_lane_key"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(lane__gte=0, lane__lte=63),
                        name="outbox_lanes_lane_range",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Relay",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("destination", models.CharField(max_length=50)),
                ("owner", models.CharField(max_length=255)),
                (
                    "started_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
                (
                    "seen_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
                ("wakes_by", models.CharField(db_default="polling", max_length=20)),
                (
                    "breaker",
                    models.CharField(
                        choices=[("CLOSED", "Closed"), ("OPEN", "Open")],
                        db_default="CLOSED",
                        max_length=20,
                    ),
                ),
                ("breaker_since", models.DateTimeField(blank=True, null=True)),
                ("breaker_error", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "outbox_relays",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["destination", "owner"], name="outbox_relays_owner_key"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(breaker__in=["CLOSED", "OPEN"]),
                        name="outbox_relays_breaker_check",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TroubledKey",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("destination", models.CharField(max_length=50)),
                ("lane", models.SmallIntegerField()),
                ("aggregate_type", models.CharField(max_length=20)),
                ("aggregate_id", models.UUIDField()),
                (
                    "state",
                    models.CharField(
                        choices=[("BACKOFF", "Backoff"), ("PARKED", "Parked")], max_length=20
                    ),
                ),
                ("event_id", models.UUIDField()),
                ("retry_at", models.DateTimeField(blank=True, null=True)),
                ("dead_letter_id", models.UUIDField(blank=True, null=True)),
                (
                    "since",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
            ],
            options={
                "db_table": "outbox_keys",
                "verbose_name": "troubled key",
                "indexes": [
                    models.Index(
                        fields=["destination", "lane", "retry_at"],
                        condition=models.Q(retry_at__isnull=False),
                        name="outbox_keys_due_idx",
                    ),
                    models.Index(fields=["event_id"], name="outbox_keys_event_idx"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["destination", "aggregate_type", "aggregate_id"],
                        name="outbox_keys_aggregate_key",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(state__in=["BACKOFF", "PARKED"]),
                        name="outbox_keys_state_check",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="InboxEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("consumer", models.CharField(max_length=100)),
                ("event_id", models.CharField(max_length=255)),
                (
                    "received_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
            ],
            options={
                "db_table": "outbox_inbox",
                "verbose_name": "inbox entry",
                "verbose_name_plural": "inbox entries",
                "indexes": [models.Index(fields=["received_at"], name="outbox_inbox_received_idx")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["consumer", "event_id"], name="outbox_inbox_consumer_event_key"
                    )
                ],
            },
        ),
        # Who dealt with what, and what consumers have seen, is kept when these tables go.
        MoveRows(
            [
                ("outbox_dlq_actions", "the baseline has no such table", "true"),
                ("outbox_inbox", "the baseline has no such table", "true"),
            ]
        ),
    ]
