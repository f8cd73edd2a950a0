from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Runs after another app's migration, and refers to its model, not to its table."""

    dependencies = [("depot", "0001_initial")]
    operations = [
        migrations.CreateModel(
            "Trip",
            [
                ("id", models.BigAutoField(primary_key=True)),
                (
                    "crate",
                    models.ForeignKey(
                        "depot.Crate", models.CASCADE, null=True, db_constraint=False
                    ),
                ),
            ],
        ),
    ]
