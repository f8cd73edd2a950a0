from __future__ import annotations

from django.apps import AppConfig


class HomesteadConfig(AppConfig):
    """Its first two migrations make what another program may have made before."""

    name = "tests.schema.apps.homestead"
    schema_baseline = "0002_fence"
