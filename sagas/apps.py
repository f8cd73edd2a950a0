from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from django.apps import AppConfig


class SagasConfig(AppConfig):
    """Sagas, their steps, attempts, locks and audit."""

    name = "sagas"
    verbose_name = "Sagas"
    default_auto_field = "django.db.models.BigAutoField"
    schema_owned = True
    schema_baseline = "0001_baseline"
    admin_roles: ClassVar[Mapping[str, Sequence[str]]] = {"operator": ["operate_saga"]}

    def ready(self) -> None:
        """Import the modules named ``sagas`` of installed apps, which register their definitions,
        and the system checks."""
        from django.utils.module_loading import autodiscover_modules  # noqa: PLC0415

        from sagas import checks  # noqa: F401, PLC0415  (it registers them)

        autodiscover_modules("sagas")
