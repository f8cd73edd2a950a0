from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Jar",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("content", models.TextField(default="")),
            ],
        ),
    ]
