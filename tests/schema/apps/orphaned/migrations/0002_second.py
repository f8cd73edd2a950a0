from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("orphaned", "0001_initial")]
    operations = []
