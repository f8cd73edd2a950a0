"""From here on no new row has NULL where the original's readers expected a value."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import RequireNotNull


class Migration(migrations.Migration):
    dependencies = [("outbox", "0005_any_aggregate")]

    operations = [
        RequireNotNull("event", ["status", "retry_count", "event_version", "created_at"]),
        RequireNotNull("deadletter", ["moved_at"]),
    ]
