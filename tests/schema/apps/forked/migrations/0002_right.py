from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("forked", "0001_initial")]
    operations = [
        migrations.AddField("Road", "right", models.IntegerField(null=True)),
    ]
