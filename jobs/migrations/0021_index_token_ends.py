"""The index by which retention finds the tokens whose time is up."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0020_index_orchestrated")]

    operations = [
        AddIndexConcurrently(
            "bootstraptoken",
            models.Index(fields=["expires_at"], name="bootstrap_tokens_expires_idx"),
        ),
    ]
