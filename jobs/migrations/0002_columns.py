"""Columns that the original kept inside JSON or not at all. All are added without a rewrite."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Func


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_baseline")]

    operations = [
        migrations.AddField("job", "name", models.CharField(db_default="", max_length=255)),
        migrations.AddField("job", "queue", models.CharField(db_default="default", max_length=64)),
        migrations.AddField("job", "priority", models.IntegerField(db_default=0)),
        migrations.AddField("job", "run_after", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("job", "timeout", models.DurationField(blank=True, null=True)),
        migrations.AddField(
            "job", "correlation_id", models.CharField(blank=True, max_length=255, null=True)
        ),
        migrations.AddField(
            "job", "idempotency_key", models.CharField(blank=True, max_length=255, null=True)
        ),
        migrations.AddField(
            "job", "trace_parent", models.CharField(blank=True, max_length=55, null=True)
        ),
        migrations.AddField("job", "worker_id", models.UUIDField(blank=True, null=True)),
        migrations.AddField("job", "lost_leases", models.IntegerField(db_default=0)),
        migrations.AddField(
            "job",
            "updated_at",
            models.DateTimeField(
                db_default=Func(function="now", output_field=models.DateTimeField())
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE jobs ALTER COLUMN created_at SET DEFAULT now()",
                    "ALTER TABLE jobs ALTER COLUMN created_at DROP DEFAULT",
                ),
            ],
            state_operations=[
                migrations.AlterField(
                    "job",
                    "created_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
            ],
        ),
        migrations.AddField(
            "queueentry", "queue", models.CharField(db_default="default", max_length=64)
        ),
        migrations.AddField(
            "bootstraptoken", "secret_hash", models.CharField(blank=True, max_length=64, null=True)
        ),
    ]
