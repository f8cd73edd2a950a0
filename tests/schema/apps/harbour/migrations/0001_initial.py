from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """The foreign key is deferred SQL: it is added after both tables."""

    dependencies = []
    operations = [
        migrations.CreateModel("Dock", [("id", models.BigAutoField(primary_key=True))]),
        migrations.CreateModel(
            "Ship",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.TextField(default="")),
                ("dock", models.ForeignKey("harbour.Dock", models.CASCADE, null=True)),
            ],
        ),
    ]
