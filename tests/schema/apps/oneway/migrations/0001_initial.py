from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = []
    operations = [
        migrations.CreateModel("Stair", [("id", models.BigAutoField(primary_key=True))]),
    ]
