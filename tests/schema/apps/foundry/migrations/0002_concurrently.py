from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("foundry", "0001_initial")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "CREATE INDEX CONCURRENTLY foundry_letter_reason_idx ON foundry_letter (reason)",
                    "DROP INDEX CONCURRENTLY foundry_letter_reason_idx",
                ),
            ],
        ),
    ]
