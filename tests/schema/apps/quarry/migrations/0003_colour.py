from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("quarry", "0001_squashed_0002_weight")]
    operations = [
        migrations.AddField("Stone", "colour", models.IntegerField(null=True)),
    ]
