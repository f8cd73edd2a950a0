"""The index that groups open dead letters by their failure."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("outbox", "0012_index_held")]

    operations = [
        AddIndexConcurrently(
            "deadletter",
            models.Index(
                fields=["fingerprint", "moved_at"],
                condition=models.Q(resolved_at__isnull=True),
                name="outbox_dlq_fingerprint_idx",
            ),
        ),
    ]
