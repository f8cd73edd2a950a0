"""Constraints that know every state which the code writes; the original's refused four of them.

They are only wider than before, but PostgreSQL cannot know: they are added unread, and read in 0007.
"""

from __future__ import annotations

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

from hodei.schema.operations import MoveRows

PROVIDER_TYPES = [
    "docker",
    "kubernetes",
    "firecracker",
    "fargate",
    "cloudrun",
    "containerapps",
    "lambda",
    "cloudfunctions",
    "azurefunctions",
    "ec2",
    "computeengine",
    "azurevms",
    "test",
    "baremetal",
    "process",
]

TYPES_BEYOND = "provider_type NOT IN ('docker', 'kubernetes', 'firecracker')"


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_side_tables")]

    operations = [
        migrations.RemoveConstraint("job", "jobs_state_check"),
        AddConstraintNotValid(
            "job",
            models.CheckConstraint(
                condition=models.Q(
                    state__in=[
                        "CREATED",
                        "PENDING",
                        "ASSIGNED",
                        "SCHEDULED",
                        "RUNNING",
                        "SUCCEEDED",
                        "FAILED",
                        "CANCELLED",
                        "TIMEOUT",
                        "MANUAL_INTERVENTION_REQUIRED",
                    ]
                ),
                name="jobs_state_check",
            ),
        ),
        AddConstraintNotValid(
            "job",
            models.CheckConstraint(
                condition=models.Q(priority__gte=-100, priority__lte=100),
                name="jobs_priority_range",
            ),
        ),
        migrations.RemoveConstraint("worker", "workers_state_check"),
        AddConstraintNotValid(
            "worker",
            models.CheckConstraint(
                condition=models.Q(
                    state__in=[
                        "CREATING",
                        "CONNECTING",
                        "REGISTERED",
                        "READY",
                        "BUSY",
                        "DRAINING",
                        "TERMINATING",
                        "TERMINATED",
                        "FAILED",
                    ]
                ),
                name="workers_state_check",
            ),
        ),
        migrations.RemoveConstraint("worker", "workers_provider_type_check"),
        AddConstraintNotValid(
            "worker",
            models.CheckConstraint(
                condition=models.Q(provider_type__in=PROVIDER_TYPES)
                | models.Q(provider_type__regex="^custom:.+$"),
                name="workers_provider_type_check",
            ),
        ),
        migrations.RemoveConstraint("provider", "provider_configs_provider_type_check"),
        AddConstraintNotValid(
            "provider",
            models.CheckConstraint(
                condition=models.Q(provider_type__in=PROVIDER_TYPES)
                | models.Q(provider_type__regex="^custom:.+$"),
                name="provider_configs_provider_type_check",
            ),
        ),
        migrations.RemoveConstraint("provider", "provider_configs_status_check"),
        AddConstraintNotValid(
            "provider",
            models.CheckConstraint(
                condition=models.Q(
                    status__in=[
                        "ACTIVE",
                        "INACTIVE",
                        "MAINTENANCE",
                        "DISABLED",
                        "OVERLOADED",
                        "UNHEALTHY",
                        "DEGRADED",
                        "ERROR",
                    ]
                ),
                name="provider_configs_status_check",
            ),
        ),
        MoveRows(
            [
                (
                    "jobs",
                    "states that only head knows",
                    "state IN ('SCHEDULED', 'TIMEOUT', 'MANUAL_INTERVENTION_REQUIRED')",
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
