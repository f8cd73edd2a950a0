"""How Django knows this app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """Events, dead letters and what relays and consumers keep about them."""

    name = "outbox"
    verbose_name = "Outbox"
    default_auto_field = "django.db.models.BigAutoField"
    schema_owned = True
    schema_baseline = "0001_baseline"
    admin_roles: ClassVar[Mapping[str, Sequence[str]]] = {
        "operator": ["operate_deadletter"],
        # Who resends writes what consumers get.
        "administrator": ["resend_deadletter"],
    }

    def ready(self) -> None:
        """Register the system checks, by importing them."""
        from outbox import checks  # noqa: F401, PLC0415
