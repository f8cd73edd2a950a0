"""The index of the jobs that have a provider: most have none, and would be in it with each change."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0024_enqueue")]

    operations = [
        AddIndexConcurrently(
            "job",
            models.Index(
                condition=models.Q(selected_provider__isnull=False),
                fields=["selected_provider"],
                name="jobs_provider_idx",
            ),
        ),
    ]
