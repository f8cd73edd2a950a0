"""System check: whether the pages of the admin have their templates. Looks at installed apps alone.

Registered with the first admin of ours, so who has no admin is not asked for them.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register

HOLDER = "hodei.schema"


@register(Tags.admin)
def check_templates(**_rest: Any) -> list[CheckMessage]:
    """hodei.E001: the app that holds the templates is not installed."""
    if apps.is_installed(HOLDER):
        return []
    return [
        Error(
            f"The app {HOLDER} is not installed, and holds the templates of the pages of jobs, "
            "events and sagas in the admin.",
            hint=f"Add {HOLDER!r} to INSTALLED_APPS.",
            id="hodei.E001",
        )
    ]
