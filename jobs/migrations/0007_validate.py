"""Read all rows once, while others read and write, to prove what 0004 and 0005 require."""

from __future__ import annotations

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

from hodei.schema.operations import ValidateNotNull


class Migration(migrations.Migration):
    dependencies = [("jobs", "0006_repair")]

    operations = [
        ValidateConstraint("job", "jobs_state_check"),
        ValidateConstraint("job", "jobs_priority_range"),
        ValidateConstraint("worker", "workers_state_check"),
        ValidateConstraint("worker", "workers_provider_type_check"),
        ValidateConstraint("provider", "provider_configs_provider_type_check"),
        ValidateConstraint("provider", "provider_configs_status_check"),
        ValidateNotNull("worker", ["created_at", "updated_at"]),
        ValidateNotNull("bootstraptoken", ["created_at"]),
        migrations.RunSQL(
            """
            ALTER TABLE workers VALIDATE CONSTRAINT workers_provider_id_fkey,
                VALIDATE CONSTRAINT workers_current_job_id_fkey;
            ALTER TABLE jobs VALIDATE CONSTRAINT jobs_selected_provider_id_fkey;
            ALTER TABLE job_queue VALIDATE CONSTRAINT job_queue_job_id_fkey;
            """,
            migrations.RunSQL.noop,
        ),
    ]
