from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("vineyard", "0002_press")]
    operations = [
        migrations.AddField("Vine", "label", models.TextField(null=True)),
        migrations.AddField("Vine", "age", models.IntegerField(db_default=0)),
        migrations.RunSQL(
            "ALTER TABLE vineyard_vine ADD COLUMN label_length int "
            "GENERATED ALWAYS AS (length(label)) STORED",
            "ALTER TABLE vineyard_vine DROP COLUMN label_length",
        ),
    ]
