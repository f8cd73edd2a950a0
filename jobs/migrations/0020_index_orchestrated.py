"""The index of the orchestrated jobs that live: for their sagas, and for the workers that get them."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0019_orchestrated")]

    operations = [
        AddIndexConcurrently(
            "job",
            models.Index(
                condition=models.Q(
                    orchestrated=True, state__in=["PENDING", "ASSIGNED", "SCHEDULED", "RUNNING"]
                ),
                fields=["state"],
                name="jobs_orchestrated_idx",
            ),
        ),
    ]
