"""NOT NULL by the proofs of 0007."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import SetNotNull


class Migration(migrations.Migration):
    dependencies = [("sagas", "0007_validate")]

    operations = [
        SetNotNull("saga", ["started_at", "created_at", "updated_at"]),
        SetNotNull("sagastep", ["retry_count", "created_at", "updated_at"]),
        SetNotNull("sagaauditevent", ["occurred_at"]),
    ]
