"""One step per place: built while others write, and made the constraint by 0013."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("sagas", "0010_one_live_per_key")]

    operations = [
        migrations.RunSQL(
            "CREATE UNIQUE INDEX CONCURRENTLY saga_steps_order_key ON saga_steps (saga_id, step_order)",
            "DROP INDEX CONCURRENTLY IF EXISTS saga_steps_order_key",
        ),
    ]
