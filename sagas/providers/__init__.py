"""What starts and stops workers: one class for each type of provider, third parties' among them.

    SAGAS_PROVIDERS = {
        "process": "sagas.providers.process.ProcessProvider",
        "custom:fly": "shop.fly.FlyProvider",
    }

The sagas act on infrastructure through these four functions, and through nothing else. They run
with no transaction open, and any of them may be called again, by another machine, after a crash at
any moment: the key, which is the worker's, says that it is the same call.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Protocol, runtime_checkable

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

SETTING = "SAGAS_PROVIDERS"
DEFAULT: Mapping[str, str] = {"process": "sagas.providers.process.ProcessProvider"}

#: What a provider knows about one worker: anything that JSON can hold, and no secrets.
Handle = Mapping[str, Any]


class Ping(StrEnum):
    """What a provider says of a worker's infrastructure."""

    ALIVE = "alive"
    GONE = "gone"  # for sure: what ran in it runs no more
    UNSURE = "unsure"


class ProviderRefused(Exception):  # noqa: N818  (it reads as the fact it states)
    """Nothing was made, for sure, and nothing will be: full, misconfigured, not allowed."""


class ProviderUnknown(LookupError):  # noqa: N818
    """No class is registered for this type of provider."""

    def __init__(self, provider_type: str) -> None:
        known = ", ".join(sorted(registered())) or "none"
        super().__init__(
            f"There is no implementation of providers of type {provider_type!r}; {SETTING} has "
            f"{known}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """A worker to make: what ``manage.py jobs_worker`` is to be told, wherever it runs."""

    worker_id: uuid.UUID
    #: Lets it register, once, and soon. Into its environment, and nowhere else.
    token: str = field(repr=False)
    #: Names; none is every queue.
    queues: tuple[str, ...] = ()
    concurrency: int = 1

    def arguments(self) -> list[str]:
        """Of ``manage.py``."""
        queues = ["--queues", ",".join(self.queues)] if self.queues else []
        return ["jobs_worker", "--concurrency", str(self.concurrency), *queues]

    def environment(self) -> dict[str, str]:
        """Besides what the project itself needs."""
        return {"HODEI_WORKER_ID": str(self.worker_id), "HODEI_WORKER_TOKEN": self.token}


@runtime_checkable
class InfrastructureProvider(Protocol):
    """A type of provider. Made anew for each call, with the ``config`` of the provider's row."""

    def __init__(self, config: Mapping[str, Any]) -> None: ...

    def create(self, key: str, order: WorkerOrder) -> Handle:
        """Start a worker and return what is known of it. Where there is one of this key already,
        return that. Tag it with the key before it can be lost. Raises ProviderRefused; anything
        else says that nobody knows."""
        ...

    def verify(self, key: str) -> Handle | None:
        """Find what has this key; None where there is nothing, for sure. Whatever it raises says
        that nobody knows."""
        ...

    def destroy(self, key: str, handle: Handle) -> None:
        """End it, at once if need be, and return when it is gone. What never was, or is gone, is
        fine. The handle is what ``create`` or ``verify`` returned, or empty."""
        ...

    def ping(self, key: str, handle: Handle) -> Ping:
        """Ask whether it is there. Cheap: it is asked every few seconds."""
        ...


@cache
def registered() -> Mapping[str, type[InfrastructureProvider]]:
    """The classes by type. Raises ImproperlyConfigured."""
    given = getattr(settings, SETTING, DEFAULT)
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(
            f"{SETTING} is {given!r}; it is a dict of provider types and dotted paths of classes."
        )
    found: dict[str, type[InfrastructureProvider]] = {}
    for name, path in given.items():
        try:
            found[name] = import_string(path)
        except (ImportError, TypeError, AttributeError) as error:
            raise ImproperlyConfigured(
                f"{SETTING}[{name!r}]: {path!r} cannot be used ({error})."
            ) from error
    return found


def provider_of(provider_type: str, config: Mapping[str, Any]) -> InfrastructureProvider:
    """Raises ProviderUnknown, and whatever the class raises for a wrong config."""
    known = registered().get(provider_type)
    if known is None:
        raise ProviderUnknown(provider_type)
    return known(config)


def _forget(*, setting: str, **_rest: Any) -> None:
    if setting == SETTING:
        registered.cache_clear()


setting_changed.connect(_forget, dispatch_uid="sagas.providers")
