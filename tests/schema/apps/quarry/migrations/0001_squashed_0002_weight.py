from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [("quarry", "0001_initial"), ("quarry", "0002_weight")]
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Stone",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("weight", models.IntegerField(null=True)),
            ],
        ),
    ]
