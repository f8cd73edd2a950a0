"""The index that tells how old the oldest pending event is.

Its condition says more than the relay's question does, so that the relay's is never answered by it:
a planner who believes that next to nothing is pending would take either of two indexes.
"""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("outbox", "0017_index_published")]

    operations = [
        AddIndexConcurrently(
            "event",
            models.Index(
                fields=["created_at"],
                condition=models.Q(status="PENDING", published_at=None),
                name="outbox_events_oldest_idx",
            ),
        ),
    ]
