from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import MoveRows, RefuseRows

RULES = [("pantry_jar", "contents that only jam makers know", "content <> 'jam'")]


class Migration(migrations.Migration):
    """The guard is not of the last migration, so others are undone before it."""

    dependencies = [("pantry", "0001_initial")]
    operations = [MoveRows(RULES), RefuseRows(RULES)]
