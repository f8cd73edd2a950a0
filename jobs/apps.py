from __future__ import annotations

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Jobs, their queue, workers, providers, audit and log files."""

    name = "jobs"
    verbose_name = "Jobs"
    default_auto_field = "django.db.models.BigAutoField"
    schema_owned = True
    schema_baseline = "0001_baseline"

    def ready(self) -> None:
        from jobs.logs import checks  # noqa: F401, PLC0415  (it registers them)
