from __future__ import annotations

from django.apps import AppConfig


class SagasConfig(AppConfig):
    """Sagas, their steps, attempts, locks and audit."""

    name = "sagas"
    verbose_name = "Sagas"
    default_auto_field = "django.db.models.BigAutoField"
    schema_owned = True
    schema_baseline = "0001_baseline"
