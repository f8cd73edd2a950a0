"""The first step of the way back: refuse, before anything is touched, what the baseline cannot hold."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import RefuseRows

TYPES_BEYOND = "provider_type NOT IN ('docker', 'kubernetes', 'firecracker')"


class Migration(migrations.Migration):
    dependencies = [("jobs", "0026_drop_provider_index")]

    operations = [
        RefuseRows(
            [
                (
                    "jobs",
                    "states that only head knows",
                    "state IN ('SCHEDULED', 'TIMEOUT', 'MANUAL_INTERVENTION_REQUIRED')",
                ),
                (
                    "jobs",
                    "kept for a saga, which the baseline cannot say",
                    "orchestrated AND state IN ('PENDING', 'ASSIGNED', 'RUNNING')",
                ),
                ("jobs", "due later, which the baseline cannot say", "run_after > now()"),
                (
                    "workers",
                    "states that only head knows",
                    "state IN ('CREATING', 'CONNECTING', 'DRAINING', 'TERMINATING')",
                ),
                ("workers", "provider types that only head knows", TYPES_BEYOND),
                (
                    "provider_configs",
                    "statuses that only head knows",
                    "status IN ('DISABLED', 'OVERLOADED', 'UNHEALTHY', 'DEGRADED')",
                ),
                ("provider_configs", "provider types that only head knows", TYPES_BEYOND),
            ]
        ),
    ]
