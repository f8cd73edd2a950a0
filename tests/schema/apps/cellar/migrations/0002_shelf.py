from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Nothing in it has to do with the other app."""

    dependencies = [("cellar", "0001_initial")]
    operations = [
        migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True))]),
    ]
