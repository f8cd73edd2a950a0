from __future__ import annotations

import os

from django.db import migrations


def post(apps, schema_editor):
    """Insert what the switch says; the server refuses it if it is no number."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("INSERT INTO ledger_entry DEFAULT VALUES")
        cursor.execute("SELECT pg_sleep(%s::float)", [os.environ.get("LEDGER_SECONDS", "0")])
        cursor.execute("SELECT %s::integer", [os.environ.get("LEDGER_AMOUNT", "1")])


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [migrations.RunPython(post, migrations.RunPython.noop)]
