from __future__ import annotations

import os

from django.db import migrations

NAME = '"Press ""of"" 100%; DROP TABLE vineyard_vine -- \u00fc"'


def press_back(apps, schema_editor):
    """Do what the switch says, when it is undone."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(os.environ.get("VINEYARD_PRESS", "SELECT 1"))


class Migration(migrations.Migration):
    """A table that only SQL knows, of a name that nobody would choose."""

    dependencies = [("vineyard", "0001_initial")]
    operations = [
        migrations.RunSQL(f"CREATE TABLE {NAME} (id int)", f"DROP TABLE {NAME}"),
        migrations.RunPython(migrations.RunPython.noop, press_back),
    ]
