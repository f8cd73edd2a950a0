from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("crew", "0002_first_badge")]
    operations = [
        migrations.RunSQL(
            'CREATE INDEX CONCURRENTLY "crew_badge_label_idx" ON "crew_badge" ("label" DESC)',
            'DROP INDEX CONCURRENTLY IF EXISTS "crew_badge_label_idx"',
            state_operations=[
                migrations.AddIndex(
                    "badge", models.Index(fields=["-label"], name="crew_badge_label_idx")
                )
            ],
        )
    ]
