"""One job per idempotency key: the index that makes a second enqueue return the first job."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0009_index_state")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "CREATE UNIQUE INDEX CONCURRENTLY jobs_idempotency_key_key ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL",
                    "DROP INDEX CONCURRENTLY IF EXISTS jobs_idempotency_key_key",
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    "job",
                    models.UniqueConstraint(
                        condition=models.Q(idempotency_key__isnull=False),
                        fields=["idempotency_key"],
                        name="jobs_idempotency_key_key",
                    ),
                ),
            ],
        ),
    ]
