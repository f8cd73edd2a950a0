"""From here on no new row has NULL where one is read, nor points at a row that is not there.

The rows that stand are read by 0007, after their repair.
"""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import RequireNotNull


class Migration(migrations.Migration):
    dependencies = [("jobs", "0004_all_states")]

    operations = [
        RequireNotNull("worker", ["created_at", "updated_at"]),
        RequireNotNull("bootstraptoken", ["created_at"]),
        migrations.RunSQL(
            """
            ALTER TABLE workers
                ADD CONSTRAINT workers_provider_id_fkey FOREIGN KEY (provider_id)
                    REFERENCES provider_configs (id) ON DELETE RESTRICT NOT VALID,
                ADD CONSTRAINT workers_current_job_id_fkey FOREIGN KEY (current_job_id)
                    REFERENCES jobs (id) ON DELETE SET NULL NOT VALID;
            ALTER TABLE jobs
                ADD CONSTRAINT jobs_selected_provider_id_fkey FOREIGN KEY (selected_provider_id)
                    REFERENCES provider_configs (id) ON DELETE SET NULL NOT VALID;
            """,
            """
            ALTER TABLE jobs DROP CONSTRAINT jobs_selected_provider_id_fkey;
            ALTER TABLE workers DROP CONSTRAINT workers_current_job_id_fkey,
                DROP CONSTRAINT workers_provider_id_fkey;
            """,
        ),
        # A place in the queue dies with its job; the original refused to delete a queued job.
        migrations.RunSQL(
            """
            ALTER TABLE job_queue DROP CONSTRAINT job_queue_job_id_fkey;
            ALTER TABLE job_queue ADD CONSTRAINT job_queue_job_id_fkey FOREIGN KEY (job_id)
                REFERENCES jobs (id) ON DELETE CASCADE NOT VALID;
            """,
            """
            ALTER TABLE job_queue DROP CONSTRAINT job_queue_job_id_fkey;
            ALTER TABLE job_queue ADD CONSTRAINT job_queue_job_id_fkey FOREIGN KEY (job_id)
                REFERENCES jobs (id) ON DELETE RESTRICT;
            """,
        ),
    ]
