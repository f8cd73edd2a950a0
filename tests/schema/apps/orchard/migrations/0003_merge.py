from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("orchard", "0002_height"), ("orchard", "0002_planted")]
    operations = []
