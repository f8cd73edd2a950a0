"""How many runners in a row a saga has outlived: something in it may be what kills them."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sagas", "0016_comments")]

    operations = [
        migrations.AddField(
            "saga",
            "lost_leases",
            models.IntegerField(
                db_comment="Runners in a row that vanished with it, and it had not got on",
                db_default=0,
            ),
        ),
    ]
