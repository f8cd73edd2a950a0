from __future__ import annotations

import os

from django.db import migrations


def pour_back(apps, schema_editor):
    """Do what the switch says, when it is undone."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(os.environ.get("VINEYARD_POUR", "SELECT 1"))


class Migration(migrations.Migration):
    dependencies = [("vineyard", "0005_plant")]
    operations = [migrations.RunPython(migrations.RunPython.noop, pour_back)]
