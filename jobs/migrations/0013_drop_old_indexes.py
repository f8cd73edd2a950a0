"""Drop the indexes that repeat another one, or that only cost: each is work on every change."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0012_index_claim")]

    operations = [
        # A prefix of jobs_state_created_idx, and the chosen provider with a constant beside it.
        migrations.RemoveIndex("job", "idx_jobs_state"),
        migrations.RemoveIndex("job", "idx_jobs_assigned_provider"),
        # Neither knows the queue that a worker asks for.
        migrations.RemoveIndex("queueentry", "idx_job_queue_priority"),
        migrations.RemoveIndex("queueentry", "idx_job_queue_enqueued_at"),
        # A heartbeat must not touch an index: then it is a change within its page.
        migrations.RemoveIndex("worker", "idx_workers_last_heartbeat"),
        # The same columns as a unique constraint, or the first column of a longer index.
        migrations.RemoveIndex("provider", "idx_provider_configs_name"),
        migrations.RemoveIndex("logfile", "idx_job_log_files_job_id"),
        migrations.RemoveIndex("auditrecord", "idx_audit_event_type"),
    ]
