from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orchard", "0001_initial")]
    operations = [
        migrations.AddField("Tree", "planted", models.IntegerField(null=True)),
    ]
