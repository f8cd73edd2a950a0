"""Drop the indexes that repeat another one: the primary key, or the first column of a longer one."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("sagas", "0013_unique_steps")]

    operations = [
        migrations.RemoveIndex("saga", "idx_sagas_id"),
        migrations.RemoveIndex("saga", "idx_sagas_type"),
        migrations.RemoveIndex("sagastep", "idx_saga_steps_saga_id"),
        migrations.RemoveIndex("sagastep", "idx_saga_steps_saga_order"),
    ]
