from __future__ import annotations

from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """Events, dead letters and what relays and consumers keep about them."""

    name = "outbox"
    verbose_name = "Outbox"
    default_auto_field = "django.db.models.BigAutoField"
    schema_owned = True
    schema_baseline = "0001_baseline"
