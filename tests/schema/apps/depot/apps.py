from __future__ import annotations

from django.apps import AppConfig


class DepotConfig(AppConfig):
    """The app that a reset is about if none is named."""

    name = "tests.schema.apps.depot"
    default_auto_field = "django.db.models.BigAutoField"
    schema_owned = True
