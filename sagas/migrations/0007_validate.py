"""Read all rows once, while others read and write, to prove that no NULL is left."""

from __future__ import annotations

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

from hodei.schema.operations import ValidateNotNull


class Migration(migrations.Migration):
    dependencies = [("sagas", "0006_repair")]

    operations = [
        ValidateConstraint("saga", "sagas_outcome_check"),
        ValidateConstraint("sagastep", "saga_steps_state_check"),
        ValidateNotNull("saga", ["started_at", "created_at", "updated_at"]),
        ValidateNotNull("sagastep", ["retry_count", "created_at", "updated_at"]),
        ValidateNotNull("sagaauditevent", ["occurred_at"]),
    ]
