"""Jobs that a saga has run say so: they never go into the queue, whatever becomes of a run."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0018_index_tokens")]

    operations = [
        migrations.AddField(
            "job",
            "orchestrated",
            models.BooleanField(
                db_comment="Kept out of the queue: a saga leases it to a worker",
                db_default=False,
                default=False,
            ),
        ),
    ]
