"""A lease knows where its job stood in the queue: given back unstarted, it stands there again."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0021_index_token_ends")]

    operations = [
        migrations.AddField(
            "lease",
            "place",
            models.BigIntegerField(
                blank=True,
                db_comment="job_queue.id of the job, which it has again if it is given back unstarted",
                null=True,
            ),
        ),
        migrations.AddField(
            "lease",
            "enqueued_at",
            models.DateTimeField(
                blank=True, db_comment="As it was in job_queue: since when it waits", null=True
            ),
        ),
    ]
