"""How Django knows this app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from django.apps import AppConfig


class SchemaConfig(AppConfig):
    """The label is prefixed: "schema" alone is a name other projects have taken."""

    name = "hodei.schema"
    label = "hodei_schema"
    verbose_name = "Schema"
    default_auto_field = "django.db.models.BigAutoField"
    admin_roles: ClassVar[Mapping[str, Sequence[str]]] = {}

    def ready(self) -> None:
        """Register the system checks, by importing them."""
        from hodei.schema import checks  # noqa: F401, PLC0415
