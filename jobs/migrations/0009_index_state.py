"""The index that lists jobs of a state by age."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0008_not_null")]

    operations = [
        AddIndexConcurrently(
            "job", models.Index(fields=["state", "created_at"], name="jobs_state_created_idx")
        ),
    ]
