"""The first step of the way back: refuse, before anything is touched, what the baseline cannot hold."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import RefuseRows

BEYOND = "aggregate_type NOT IN ('JOB', 'WORKER', 'PROVIDER', 'SAGA')"


class Migration(migrations.Migration):
    dependencies = [("outbox", "0021_decisions")]

    operations = [
        RefuseRows(
            [
                ("outbox_events", "aggregate types that only head knows", BEYOND),
                ("outbox_dlq", "aggregate types that only head knows", BEYOND),
            ]
        ),
    ]
