"""The settings of logs: read when they are needed.

STORAGES["job_logs"]     where files go; a storage of Django's or of django-storages
JOBS_LOG_TTL_HOURS       hours that a file is kept (168); a job may say otherwise by its metadata's
                         ``log_ttl_hours``
JOBS_LOG_SECRETS         texts that are masked in every log, besides a job's own secrets
JOBS_LOG_SPOOL           folder for what runs are writing now; by default the system's temporary one
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

#: Name of the storage.
ALIAS = "job_logs"
DEFAULT_TTL_HOURS = 168.0
MOST_TTL_HOURS = 24 * 366 * 100
#: Keys of a job's metadata: how long its log is kept, and until when somebody has it kept.
TTL_KEY, KEPT_KEY = "log_ttl_hours", "_log_kept_until"


def ttl_hours(metadata: Mapping[str, Any]) -> float:
    """Hours that the log of a job is kept: as it says, or else as the setting does. What a job says
    and cannot be is passed over. Raises ImproperlyConfigured for the setting."""
    said = metadata.get(TTL_KEY)
    if _is_ttl(said):
        return float(said)  # type: ignore[arg-type]
    given = getattr(settings, "JOBS_LOG_TTL_HOURS", DEFAULT_TTL_HOURS)
    if not _is_ttl(given):
        raise ImproperlyConfigured(
            f"JOBS_LOG_TTL_HOURS is {given!r}; it is a number of hours, more than 0 and at most "
            f"{MOST_TTL_HOURS:,}."
        )
    return float(given)


def secrets() -> tuple[str, ...]:
    """Raises ImproperlyConfigured."""
    given = getattr(settings, "JOBS_LOG_SECRETS", ())
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        # Its values are secrets, so they are not shown.
        raise ImproperlyConfigured("JOBS_LOG_SECRETS is no list of texts.")
    return tuple(given)


def spool_folder() -> str | None:
    """Raises ImproperlyConfigured."""
    given = getattr(settings, "JOBS_LOG_SPOOL", None)
    if given is not None and not str(given).strip():
        raise ImproperlyConfigured(f"JOBS_LOG_SPOOL is {given!r}; it is the path of a folder.")
    return None if given is None else str(given)


def _is_ttl(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value <= MOST_TTL_HOURS
    )
