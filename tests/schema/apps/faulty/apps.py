"""An app whose system check always fails."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Error, register


class FaultyConfig(AppConfig):
    name = "tests.schema.apps.faulty"

    def ready(self) -> None:
        register(lambda **_: [Error("It never works.", id="faulty.E001")])
