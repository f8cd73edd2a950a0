"""Columns that let a runner go on where another one died. All are added without a rewrite."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sagas", "0001_baseline")]

    operations = [
        migrations.AddField(
            "saga",
            "outcome",
            models.CharField(
                blank=True,
                choices=[
                    ("COMPLETED", "Completed"),
                    ("COMPENSATED", "Compensated"),
                    ("COMPENSATION_FAILED", "Compensation failed"),
                    ("CANCELLED", "Cancelled"),
                ],
                max_length=30,
                null=True,
            ),
        ),
        migrations.AddField("saga", "definition_version", models.IntegerField(db_default=1)),
        migrations.AddField(
            "saga", "steps_hash", models.CharField(blank=True, max_length=64, null=True)
        ),
        migrations.AddField(
            "saga", "business_key", models.CharField(blank=True, max_length=255, null=True)
        ),
        migrations.AddField("saga", "deadline_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField(
            "saga", "pause_requested_at", models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            "saga", "cancel_requested_at", models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            "saga", "lease_owner", models.CharField(blank=True, max_length=255, null=True)
        ),
        migrations.AddField("saga", "lease_epoch", models.BigIntegerField(db_default=0)),
        migrations.AddField("saga", "lease_until", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("saga", "due_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("saga", "incident", models.TextField(blank=True, null=True)),
        migrations.AddField(
            "saga", "trace_parent", models.CharField(blank=True, max_length=55, null=True)
        ),
        migrations.AddField("sagastep", "compensation_attempts", models.IntegerField(db_default=0)),
        migrations.AddField("sagastep", "verifications", models.IntegerField(db_default=0)),
        migrations.AddField("sagastep", "waits", models.IntegerField(db_default=0)),
        migrations.AddField("sagastep", "due_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("sagastep", "timeout_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("sagastep", "deadline_at", models.DateTimeField(blank=True, null=True)),
    ]
