"""The index of aggregates, without looking for equal entries to put together.

An aggregate has few events, and its entries lie at a place of their own. In a long history the page
there is mostly full, and with each event it would be gone through for nothing before it is split.
"""

from __future__ import annotations

from django.db import migrations

from hodei.indexes import SeparateIndex

NAME = "idx_outbox_aggregate"


class Migration(migrations.Migration):
    dependencies = [("outbox", "0019_publish")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                # What is there stays as it is, and nothing is put together from now on.
                migrations.RunSQL(
                    f"ALTER INDEX {NAME} SET (deduplicate_items = off)",
                    f"ALTER INDEX {NAME} RESET (deduplicate_items)",
                ),
            ],
            state_operations=[
                migrations.RemoveIndex("event", NAME),
                migrations.AddIndex(
                    "event", SeparateIndex(fields=["aggregate_type", "aggregate_id"], name=NAME)
                ),
            ],
        ),
    ]
