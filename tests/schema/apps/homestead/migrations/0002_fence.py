from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("homestead", "0001_plot")]
    operations = [
        migrations.CreateModel(
            "Fence",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("plot", models.ForeignKey("homestead.Plot", models.CASCADE, db_index=False)),
                ("length", models.IntegerField()),
            ],
            options={"db_table": "fences"},
        ),
    ]
