"""From here on no new row has NULL where one is read; and the audit outlives its saga."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import MoveRows, RequireNotNull


class Migration(migrations.Migration):
    dependencies = [("sagas", "0004_all_kinds_and_states")]

    operations = [
        RequireNotNull("saga", ["started_at", "created_at", "updated_at"]),
        RequireNotNull("sagastep", ["retry_count", "created_at", "updated_at"]),
        RequireNotNull("sagaauditevent", ["occurred_at"]),
        migrations.RunSQL(
            "ALTER TABLE saga_audit_events DROP CONSTRAINT saga_audit_events_saga_id_fkey",
            "ALTER TABLE saga_audit_events ADD CONSTRAINT saga_audit_events_saga_id_fkey FOREIGN KEY (saga_id) REFERENCES sagas (id) ON DELETE CASCADE",
        ),
        # On the way back: what outlived its saga is kept before the key returns.
        MoveRows(
            [
                (
                    "saga_audit_events",
                    "its saga is gone",
                    "NOT EXISTS (SELECT FROM sagas WHERE sagas.id = saga_audit_events.saga_id)",
                ),
            ]
        ),
    ]
