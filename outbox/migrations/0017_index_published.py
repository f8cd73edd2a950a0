"""The index by which old events are deleted, and by which the rate of delivery is read."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("outbox", "0016_comments")]

    operations = [
        AddIndexConcurrently(
            "event",
            models.Index(
                fields=["published_at"],
                condition=models.Q(status="PUBLISHED"),
                name="outbox_events_published_idx",
            ),
        ),
    ]
