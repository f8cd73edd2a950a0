from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("vineyard", "0003_columns")]
    operations = [migrations.AlterField("Vine", "name", models.TextField())]
