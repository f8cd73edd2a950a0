from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("oneway", "0002_jump")]
    operations = [migrations.AddField("Stair", "height", models.IntegerField(null=True))]
