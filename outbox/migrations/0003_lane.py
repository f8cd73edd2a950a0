"""The lane of an event. A stored generated column: the one rewrite of a table that we accept."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import F, Func

from hodei.columns import StoredField


class Migration(migrations.Migration):
    dependencies = [("outbox", "0002_columns")]

    operations = [
        migrations.AddField(
            "event",
            "lane",
            StoredField(
                db_persist=True,
                expression=Func(
                    F("aggregate_id"),
                    output_field=models.SmallIntegerField(),
                    template="((get_byte(uuid_send(%(expressions)s), 15) & 63))::smallint",
                ),
                output_field=models.SmallIntegerField(),
            ),
        ),
    ]
