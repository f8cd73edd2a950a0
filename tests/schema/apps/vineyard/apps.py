from __future__ import annotations

from django.apps import AppConfig


class VineyardConfig(AppConfig):
    name = "tests.schema.apps.vineyard"
    schema_owned = True
