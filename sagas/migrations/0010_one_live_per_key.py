"""One live saga per kind and business key: what makes a start idempotent."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("sagas", "0009_index_live")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "CREATE UNIQUE INDEX CONCURRENTLY sagas_one_live_per_key ON sagas (saga_type, business_key) WHERE business_key IS NOT NULL AND state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')",
                    "DROP INDEX CONCURRENTLY IF EXISTS sagas_one_live_per_key",
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    "saga",
                    models.UniqueConstraint(
                        fields=["saga_type", "business_key"],
                        name="sagas_one_live_per_key",
                        condition=models.Q(
                            business_key__isnull=False,
                            state__in=["PENDING", "IN_PROGRESS", "COMPENSATING"],
                        ),
                    ),
                ),
            ],
        ),
    ]
