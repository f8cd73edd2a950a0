from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pantry", "0002_any_content")]
    operations = [
        migrations.AddField("Jar", "lid", models.TextField(null=True)),
        migrations.CreateModel("Lid", [("id", models.BigAutoField(primary_key=True))]),
    ]
