"""The index that workers claim by; the queue can be long when nobody drained it."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0011_index_correlation")]

    operations = [
        AddIndexConcurrently(
            "queueentry",
            models.Index(fields=["queue", "-priority", "id"], name="job_queue_claim_idx"),
        ),
    ]
