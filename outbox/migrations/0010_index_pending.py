"""The index that relays read by."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("outbox", "0009_not_null")]

    operations = [
        AddIndexConcurrently(
            "event",
            models.Index(
                fields=["destination", "lane", "seq"],
                condition=models.Q(status="PENDING", held=False),
                name="outbox_events_pending_idx",
            ),
        ),
    ]
