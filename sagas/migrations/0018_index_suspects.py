"""The index of live sagas that have outlived several runners in a row, which is empty nearly always."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("sagas", "0017_lost_leases")]

    operations = [
        AddIndexConcurrently(
            "saga",
            models.Index(
                condition=models.Q(lost_leases__gt=1, state__in=["IN_PROGRESS", "COMPENSATING"]),
                fields=["due_at"],
                name="sagas_suspect_idx",
            ),
        ),
    ]
