from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    """The table and a column have other names from here on."""

    dependencies = [("vineyard", "0004_wide")]
    operations = [
        migrations.AlterModelTable("Vine", "vineyard_plant"),
        migrations.RenameField("Vine", "label", "title"),
    ]
