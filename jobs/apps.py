from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Jobs, their queue, workers, providers, audit and log files."""

    name = "jobs"
    verbose_name = "Jobs"
    default_auto_field = "django.db.models.BigAutoField"
    schema_owned = True
    schema_baseline = "0001_baseline"
    admin_roles: ClassVar[Mapping[str, Sequence[str]]] = {
        "operator": ["operate_job", "operate_worker", "operate_provider", "change_schedule"],
        # What cannot be taken back, and what other machines are made by.
        "administrator": ["delete_job", "change_provider"],
    }

    def ready(self) -> None:
        # Whoever enqueues no task of Django's is to have the check of its backends all the same.
        import hodei.compat  # noqa: F401, PLC0415
        from jobs import checks  # noqa: F401, PLC0415  (it registers them)
        from jobs.logs import checks as logs  # noqa: F401, PLC0415
