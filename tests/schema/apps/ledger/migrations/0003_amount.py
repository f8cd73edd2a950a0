from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_post")]
    operations = [
        migrations.AddField("Entry", "amount", models.IntegerField(null=True)),
    ]
