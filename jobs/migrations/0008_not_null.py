"""NOT NULL by the proofs of 0007, and no job on two live workers."""

from __future__ import annotations

from django.db import migrations, models

from hodei.schema.operations import SetNotNull
from hodei.schema.repair import kept

# Of several live workers on one job the one that was heard of last keeps it. The table is small:
# it is locked, so that no new pair appears between the repair and the index.
ONE_WORKER_KEEPS_THE_JOB = f"""
LOCK TABLE workers IN SHARE ROW EXCLUSIVE MODE;
UPDATE workers
   SET handle = {kept("workers.handle", "current_job_id", "workers.current_job_id")},
       current_job_id = NULL
  FROM (SELECT id, row_number() OVER (
                       PARTITION BY current_job_id
                       ORDER BY last_heartbeat DESC NULLS LAST, created_at DESC, id) AS place
          FROM workers
         WHERE current_job_id IS NOT NULL AND state NOT IN ('TERMINATED', 'FAILED')) AS ranked
 WHERE ranked.id = workers.id AND ranked.place > 1
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0007_validate")]

    operations = [
        SetNotNull("worker", ["created_at", "updated_at"]),
        SetNotNull("bootstraptoken", ["created_at"]),
        migrations.RunSQL(ONE_WORKER_KEEPS_THE_JOB, migrations.RunSQL.noop),
        migrations.AddConstraint(
            "worker",
            models.UniqueConstraint(
                condition=models.Q(
                    current_job__isnull=False,
                    state__in=[
                        "CREATING",
                        "CONNECTING",
                        "REGISTERED",
                        "READY",
                        "BUSY",
                        "DRAINING",
                        "TERMINATING",
                    ],
                ),
                fields=["current_job"],
                name="workers_one_live_per_job",
            ),
        ),
    ]
