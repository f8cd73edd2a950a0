"""The index that runners find live sagas by, whatever the number of finished ones."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("sagas", "0008_not_null")]

    operations = [
        AddIndexConcurrently(
            "saga",
            models.Index(
                fields=["saga_type", "definition_version", "state", "due_at"],
                condition=models.Q(state__in=["PENDING", "IN_PROGRESS", "COMPENSATING"]),
                name="sagas_live_idx",
            ),
        ),
    ]
