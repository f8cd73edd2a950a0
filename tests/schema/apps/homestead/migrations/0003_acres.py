from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Allows what the baseline does not, and makes a table."""

    dependencies = [("homestead", "0002_fence")]
    operations = [
        migrations.AddField("Plot", "acres", models.IntegerField(null=True)),
        migrations.RemoveConstraint("Plot", "plots_kind_check"),
        migrations.AddConstraint(
            "Plot",
            models.CheckConstraint(
                condition=models.Q(kind__in=["FIELD", "WOOD", "POND"]), name="plots_kind_check"
            ),
        ),
        migrations.CreateModel(
            "Barn", [("id", models.BigAutoField(primary_key=True))], options={"db_table": "barns"}
        ),
    ]
