"""Jobs that are due later and jobs that are held: beside the queue, off the claim path."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Func


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_columns")]

    operations = [
        migrations.CreateModel(
            name="DeferredEntry",
            fields=[
                (
                    "job",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="jobs.job",
                    ),
                ),
                ("run_after", models.DateTimeField()),
                ("queue", models.CharField(db_default="default", max_length=64)),
                ("priority", models.IntegerField(db_default=0)),
            ],
            options={
                "db_table": "job_queue_deferred",
                "verbose_name": "deferred entry",
                "verbose_name_plural": "deferred entries",
                "indexes": [models.Index(fields=["run_after"], name="job_queue_deferred_due_idx")],
            },
        ),
        migrations.RunSQL(
            "ALTER TABLE job_queue_deferred ADD CONSTRAINT job_queue_deferred_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE",
            "ALTER TABLE job_queue_deferred DROP CONSTRAINT job_queue_deferred_job_id_fkey",
        ),
        migrations.CreateModel(
            name="Lease",
            fields=[
                (
                    "job",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="jobs.job",
                    ),
                ),
                ("worker_id", models.UUIDField()),
                ("epoch", models.BigIntegerField()),
                ("expires_at", models.DateTimeField()),
                ("cancel_requested_at", models.DateTimeField(blank=True, null=True)),
                (
                    "acquired_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
            ],
            options={
                "db_table": "job_leases",
                "indexes": [models.Index(fields=["expires_at"], name="job_leases_expires_idx")],
            },
        ),
    ]
