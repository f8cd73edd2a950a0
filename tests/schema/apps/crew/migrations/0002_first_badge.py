from __future__ import annotations

from django.db import migrations


def award(apps, schema_editor):
    badges = apps.get_model("crew", "Badge").objects.using(schema_editor.connection.alias)
    members = apps.get_model("crew", "Member").objects.using(schema_editor.connection.alias)
    first, _ = badges.get_or_create(label="first")
    first.holders.add(*members.all())


class Migration(migrations.Migration):
    dependencies = [("crew", "0001_initial")]
    operations = [migrations.RunPython(award, migrations.RunPython.noop)]
