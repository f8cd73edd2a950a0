from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Depends on an app of which no baseline is known."""

    dependencies = [("contenttypes", "0001_initial")]
    operations = [
        migrations.CreateModel(
            "Plot",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=20, db_comment="As on the map")),
                ("kind", models.CharField(max_length=20, db_default="FIELD")),
                ("size", models.IntegerField(null=True, db_default=1)),
            ],
            options={
                "db_table": "plots",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(kind__in=["FIELD", "WOOD"]), name="plots_kind_check"
                    ),
                    models.UniqueConstraint(fields=["name"], name="plots_name_key"),
                ],
                "indexes": [models.Index(fields=["size"], name="plots_size_idx")],
            },
        ),
    ]
