from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("quarry", "0001_initial")]
    operations = [
        migrations.AddField("Stone", "weight", models.IntegerField(null=True)),
    ]
