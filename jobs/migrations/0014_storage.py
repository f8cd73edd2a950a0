"""Storage parameters of the tables that change with every job.

Autovacuum by a number of rows where rows come and go, since the tables are small and hot; room on
each page where rows are updated, so that a heartbeat stays within its page.
"""

from __future__ import annotations

from django.db import migrations

COMES_AND_GOES = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, "
    "autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000, "
    "autovacuum_vacuum_cost_delay = 0"
)
COMES_AND_GOES_NAMES = (
    "autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, "
    "autovacuum_analyze_scale_factor, autovacuum_analyze_threshold, autovacuum_vacuum_cost_delay"
)
QUEUE_TABLES = ("job_queue", "job_queue_deferred", "job_leases")


class Migration(migrations.Migration):
    dependencies = [("jobs", "0013_drop_old_indexes")]

    operations = [
        migrations.RunSQL(
            [f"ALTER TABLE {table} SET ({COMES_AND_GOES})" for table in QUEUE_TABLES],
            [f"ALTER TABLE {table} RESET ({COMES_AND_GOES_NAMES})" for table in QUEUE_TABLES],
        ),
        migrations.RunSQL(
            "ALTER TABLE workers SET (fillfactor = 50)", "ALTER TABLE workers RESET (fillfactor)"
        ),
        migrations.RunSQL(
            "ALTER TABLE jobs SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05)",
            "ALTER TABLE jobs RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor)",
        ),
    ]
