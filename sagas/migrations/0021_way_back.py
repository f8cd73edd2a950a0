"""The first step of the way back: refuse, before anything is touched, what the baseline cannot hold.

The audit of sagas that are gone is no reason to refuse: it is moved and kept, always.
"""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import RefuseRows


class Migration(migrations.Migration):
    dependencies = [("sagas", "0020_decisions")]

    operations = [
        RefuseRows(
            [
                (
                    "sagas",
                    "kinds that only head knows",
                    "saga_type NOT IN ('PROVISIONING', 'EXECUTION', 'RECOVERY')",
                ),
                (
                    "sagas",
                    "steps in states that only head knows",
                    "id IN (SELECT saga_id FROM saga_steps WHERE state IN ('UNKNOWN', 'SKIPPED', 'PARKED'))",
                ),
            ]
        ),
    ]
