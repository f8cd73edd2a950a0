"""Read all rows once, while others read and write, to prove that no NULL is left."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import RequireNotNull, ValidateNotNull


class Migration(migrations.Migration):
    dependencies = [("outbox", "0007_repair")]

    operations = [
        RequireNotNull("event", ["seq"]),
        ValidateNotNull("event", ["status", "retry_count", "event_version", "created_at", "seq"]),
        ValidateNotNull("deadletter", ["moved_at"]),
    ]
