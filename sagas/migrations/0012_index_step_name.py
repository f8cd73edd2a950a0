"""One step per name: built while others write, and made the constraint by 0013."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("sagas", "0011_index_step_order")]

    operations = [
        migrations.RunSQL(
            "CREATE UNIQUE INDEX CONCURRENTLY saga_steps_name_key ON saga_steps (saga_id, step_name)",
            "DROP INDEX CONCURRENTLY IF EXISTS saga_steps_name_key",
        ),
    ]
