"""The index by which the live token of a worker is found when it is issued another one."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0017_runs")]

    operations = [
        AddIndexConcurrently(
            "bootstraptoken",
            models.Index(
                condition=models.Q(("consumed_at", None)),
                fields=["worker_id"],
                name="bootstrap_tokens_worker_idx",
            ),
        ),
    ]
