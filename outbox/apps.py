"""How Django knows this app."""

from __future__ import annotations

from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """Events, dead letters and what relays and consumers keep about them."""

    name = "outbox"
    verbose_name = "Outbox"
    default_auto_field = "django.db.models.BigAutoField"
    schema_owned = True
    schema_baseline = "0001_baseline"

    def ready(self) -> None:
        """Register the system checks, by importing them."""
        from outbox import checks  # noqa: F401, PLC0415
