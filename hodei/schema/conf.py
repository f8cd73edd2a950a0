"""The settings of this app, read when they are needed, each with its default.

- ``HODEI_SCHEMA_EXTEND_MIGRATE`` (True): whether ``migrate`` is ours
- ``HODEI_SCHEMA_LOCK_TIMEOUT`` (5): seconds that one attempt of a migration waits for locks
- ``HODEI_SCHEMA_RELEASE`` (""): the label of this release, written beside what it migrates
- ``HODEI_ALLOW_RESET`` (what DEBUG is): whether ``schema_reset`` may drop anything
- ``HODEI_SCHEMA_IGNORE`` (()): patterns of differences that ``schema_validate`` accepts; read there
"""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

#: How long a second ``migrate`` waits for the first, and how often a blocked migration is retried.
LOCK_WAIT_SECONDS = 300.0
LOCK_RETRIES = 5


def extends_migrate() -> bool:
    return bool(getattr(settings, "HODEI_SCHEMA_EXTEND_MIGRATE", True))


def lock_timeout() -> float:
    """Seconds, more than zero. Raises ImproperlyConfigured."""
    value = getattr(settings, "HODEI_SCHEMA_LOCK_TIMEOUT", 5)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
        raise ImproperlyConfigured(
            f"HODEI_SCHEMA_LOCK_TIMEOUT is {value!r}; it is a number of seconds, more than 0 and "
            "at most 3600."
        )
    return float(value)


def release() -> str:
    return str(getattr(settings, "HODEI_SCHEMA_RELEASE", "") or "")


def allows_reset() -> bool:
    """Only a plain True counts: a word from the environment, "0" say, would be true as well."""
    return getattr(settings, "HODEI_ALLOW_RESET", settings.DEBUG) is True
