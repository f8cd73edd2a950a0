"""System checks: where the logs of jobs go, and what commands are given.

They look at settings alone, and only where jobs run commands.
"""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from jobs.logs import conf
from jobs.logs.store import storage
from jobs.registry import executors

TAG = "jobs"


@register(TAG)
def check_commands(**_rest: Any) -> list[CheckMessage]:
    """Whether what commands need is there and can be used."""
    try:
        if "command" not in executors():
            return []
    except ImproperlyConfigured:
        # Who checks the executors says so.
        return []
    return [*_storage(), *_settings()]


def _storage() -> list[CheckMessage]:
    try:
        storage()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint=(
                    f"Add {conf.ALIAS!r} to STORAGES, for one a "
                    "django.core.files.storage.FileSystemStorage with a location of its own."
                ),
                id="jobs.E020",
            )
        ]
    return []


def _settings() -> list[CheckMessage]:
    from jobs.executors.command import grace_seconds, inherited_names  # noqa: PLC0415

    found: list[CheckMessage] = []
    readers = (
        *(inherited_names, grace_seconds),
        *(conf.secrets, conf.spool_folder, lambda: conf.ttl_hours({})),
    )
    for read in readers:
        try:
            read()
        except ImproperlyConfigured as error:
            found.append(Error(str(error), id="jobs.E021"))
    return found
