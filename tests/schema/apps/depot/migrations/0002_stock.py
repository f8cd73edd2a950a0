from __future__ import annotations

import os

from django.db import migrations


def stock(apps, schema_editor):
    """Rows whose foreign key is checked at the end of the transaction, and what the test wants."""
    using = schema_editor.connection.alias
    shelf = apps.get_model("depot", "Shelf").objects.using(using).create(label="first")
    apps.get_model("depot", "Crate").objects.using(using).create(shelf=shelf)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(os.environ.get("DEPOT_SQL", "SELECT 1"))


class Migration(migrations.Migration):
    dependencies = [("depot", "0001_initial")]
    operations = [migrations.RunPython(stock, migrations.RunPython.noop)]
