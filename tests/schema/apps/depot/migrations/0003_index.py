from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """The table has just had rows, which one transaction for all must not trip over."""

    atomic = False
    dependencies = [("depot", "0002_stock")]
    operations = [
        AddIndexConcurrently("Crate", models.Index(fields=["name"], name="depot_crate_name_idx")),
    ]
