"""The index by which what waits behind a troubled aggregate is let go."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("outbox", "0011_index_newest")]

    operations = [
        AddIndexConcurrently(
            "event",
            models.Index(
                fields=["aggregate_id", "seq"],
                condition=models.Q(held=True),
                name="outbox_events_held_idx",
            ),
        ),
    ]
