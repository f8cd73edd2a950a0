from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("harbour", "0001_initial")]
    operations = [
        AddIndexConcurrently("Ship", models.Index(fields=["name"], name="harbour_ship_name_idx")),
    ]
