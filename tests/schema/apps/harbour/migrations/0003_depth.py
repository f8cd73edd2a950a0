from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Takes a lock on one table, then on another."""

    dependencies = [("harbour", "0002_index")]
    operations = [
        migrations.AddField("Ship", "draught", models.IntegerField(null=True)),
        migrations.AddField("Dock", "depth", models.IntegerField(null=True)),
    ]
