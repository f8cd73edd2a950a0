from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("homestead", "0003_acres")]
    operations = [
        AddIndexConcurrently("Fence", models.Index(fields=["length"], name="fences_length_idx")),
    ]
