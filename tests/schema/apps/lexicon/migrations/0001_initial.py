from __future__ import annotations

import os

from django.contrib.postgres.operations import CreateExtension
from django.db import migrations, models


class WordField(models.Field):
    """Of the type that the extension brings under its own name."""

    def db_type(self, connection: object) -> str:
        return os.environ["LEXICON_EXTENSION"]


class Migration(migrations.Migration):
    operations = [
        CreateExtension(os.environ.get("LEXICON_EXTENSION", "citext")),
        migrations.CreateModel(
            "Word", [("id", models.BigAutoField(primary_key=True)), ("word", WordField(null=True))]
        ),
    ]
