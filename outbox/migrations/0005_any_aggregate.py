"""Aggregate types beyond the original's four: the list is the application's, checked in code."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import MoveRows

BEYOND = "aggregate_type NOT IN ('JOB', 'WORKER', 'PROVIDER', 'SAGA')"


class Migration(migrations.Migration):
    dependencies = [("outbox", "0004_side_tables")]

    operations = [
        migrations.RemoveConstraint("event", "outbox_events_aggregate_type_check"),
        migrations.RemoveConstraint("deadletter", "outbox_dlq_aggregate_type_check"),
        MoveRows(
            [
                ("outbox_events", "aggregate types that only head knows", BEYOND),
                ("outbox_dlq", "aggregate types that only head knows", BEYOND),
            ]
        ),
    ]
