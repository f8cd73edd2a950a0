from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    """Irreversible, where only a look inside shows it."""

    dependencies = [("oneway", "0001_initial")]
    operations = [
        migrations.SeparateDatabaseAndState(database_operations=[migrations.RunSQL("SELECT 1")]),
    ]
