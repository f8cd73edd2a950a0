"""Storage parameters of the table that changes with every event.

Autovacuum by a number of rows, since a share of a table that holds history comes too late; room on
each page, so that a failed attempt finds its new row version a place beside the old one.
"""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("outbox", "0014_drop_old_indexes")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE outbox_events SET (
                fillfactor = 90,
                autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1)
            """,
            """
            ALTER TABLE outbox_events RESET (
                fillfactor,
                autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
                autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_cost_delay)
            """,
        ),
    ]
