"""The indexes of 0011 and 0012 become constraints, in an instant."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sagas", "0012_index_step_name")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    """
                    ALTER TABLE saga_steps
                        ADD CONSTRAINT saga_steps_order_key UNIQUE USING INDEX saga_steps_order_key,
                        ADD CONSTRAINT saga_steps_name_key UNIQUE USING INDEX saga_steps_name_key;
                    """,
                    # The indexes are those of 0011 and 0012, and go with the constraints.
                    """
                    ALTER TABLE saga_steps DROP CONSTRAINT saga_steps_name_key,
                        DROP CONSTRAINT saga_steps_order_key;
                    CREATE UNIQUE INDEX saga_steps_order_key ON saga_steps (saga_id, step_order);
                    CREATE UNIQUE INDEX saga_steps_name_key ON saga_steps (saga_id, step_name);
                    """,
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    "sagastep",
                    models.UniqueConstraint(
                        fields=["saga", "step_order"], name="saga_steps_order_key"
                    ),
                ),
                migrations.AddConstraint(
                    "sagastep",
                    models.UniqueConstraint(
                        fields=["saga", "step_name"], name="saga_steps_name_key"
                    ),
                ),
            ],
        ),
    ]
