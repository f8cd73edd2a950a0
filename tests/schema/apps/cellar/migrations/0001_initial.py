from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("vineyard", "0003_columns")]
    operations = [
        migrations.CreateModel(
            "Cask",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("vine", models.ForeignKey("vineyard.Vine", models.CASCADE, null=True)),
            ],
        ),
    ]
