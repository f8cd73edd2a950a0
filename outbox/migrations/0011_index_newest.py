"""The index that screens page by, newest first."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("outbox", "0010_index_pending")]

    operations = [
        AddIndexConcurrently(
            "event", models.Index(fields=["-seq"], name="outbox_events_newest_idx")
        ),
    ]
