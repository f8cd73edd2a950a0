"""The index that finds what belongs together."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0010_key_unique")]

    operations = [
        AddIndexConcurrently(
            "job",
            models.Index(
                fields=["correlation_id"],
                condition=models.Q(correlation_id__isnull=False),
                name="jobs_correlation_idx",
            ),
        ),
    ]
