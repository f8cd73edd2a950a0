"""The one setting of this app, HODEI_OUTBOX: read when it is needed, checked as a whole.

HODEI_OUTBOX = {
    "DESTINATIONS": {
        "default": {"PUBLISHER": "outbox.publishers.console.ConsolePublisher"},
        "billing": {
            "PUBLISHER": "outbox.publishers.webhook.WebhookPublisher",
            "OPTIONS": {"URL": "https://billing.example/hooks"},
            "MAX_ATTEMPTS": 12,
            "ON_DEATH": "skip",
        },
    },
    "ROUTES": {"Invoice*": "billing"},
    "AGGREGATE_TYPES": ["JOB", "WORKER", "PROVIDER", "SAGA", "ORDER"],
    "SOURCE": "/shop",
    "NAMESPACE": "example.shop",
    "MAX_PAYLOAD_BYTES": 262144,
    "RETENTION": {"PUBLISHED_DAYS": 7, "INBOX_DAYS": 30, "DEAD_LETTER_DAYS": None},
}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

SETTING = "HODEI_OUTBOX"
DEFAULT_DESTINATION = "default"
LONGEST_DESTINATION = 50
PARK, SKIP = "park", "skip"
#: A hundred years: far within what a time of PostgreSQL's can be.
MOST_DAYS = 36_500


class UnknownDestination(ImproperlyConfigured):
    """A route leads to a destination that there is not."""


_KEYS = {
    "DESTINATIONS": dict,
    "ROUTES": dict,
    "AGGREGATE_TYPES": list,
    "SOURCE": str,
    "NAMESPACE": str,
    "MAX_PAYLOAD_BYTES": int,
    "RETENTION": dict,
}
#: What may stand before the aggregate type in the attribute ``source`` of the envelope.
_SOURCE = re.compile(r"(?:[\w.~!$&'()*+,;=:@/\[\]-]|%[0-9A-Fa-f]{2})*", re.ASCII)
#: And before the event type in ``type``.
_NAMESPACE = re.compile(r"[\w-]+(?:\.[\w-]+)*", re.ASCII)
_DESTINATION_KEYS = {"PUBLISHER": str, "OPTIONS": dict, "MAX_ATTEMPTS": int, "ON_DEATH": str}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where events go: a publisher, and what happens to those it does not get rid of."""

    name: str
    #: Dotted path of a class.
    publisher: str
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Attempts before an event that is rejected again and again becomes a dead letter.
    max_attempts: int = 10
    #: ``park``: the followers of a dead event wait for a person; ``skip``: they go on.
    on_death: str = PARK


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """For how many days ``outbox_prune`` keeps what is done; None keeps it for ever."""

    #: Events, after they were published.
    published_days: int | None = 7
    #: What consumers have seen. A second delivery that comes later than this is taken for a first.
    inbox_days: int | None = 30
    #: Dead letters, after somebody dealt with them.
    dead_letter_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSettings:
    """HODEI_OUTBOX with its defaults."""

    destinations: Mapping[str, Destination]
    #: Patterns of event types (``fnmatch``) and destinations; the first that matches is taken.
    routes: Mapping[str, str]
    aggregate_types: frozenset[str]
    source: str
    namespace: str
    max_payload_bytes: int
    retention: Retention

    def destination_of(self, event_type: str) -> str:
        """The one destination of an event: by the first route that matches, else ``default``."""
        for pattern, name in self.routes.items():
            if fnmatchcase(event_type, pattern):
                return name
        return DEFAULT_DESTINATION


@lru_cache(maxsize=1)
def outbox_settings() -> OutboxSettings:
    """Raises ImproperlyConfigured, whose text names the key, what was found and what is allowed."""
    return read(getattr(settings, SETTING, {}))


def read(given: object) -> OutboxSettings:
    """Check the value of the setting. Raises ImproperlyConfigured."""
    if not isinstance(given, Mapping):
        raise _wrong(SETTING, given, "a dict")
    _check_keys(SETTING, given, _KEYS)
    named = given.get("DESTINATIONS", {})
    destinations = {name: _destination(name, found) for name, found in named.items()}
    destinations.setdefault(
        DEFAULT_DESTINATION,
        Destination(
            name=DEFAULT_DESTINATION, publisher="outbox.publishers.console.ConsolePublisher"
        ),
    )
    routes = given.get("ROUTES", {})
    for pattern, name in routes.items():
        if not isinstance(pattern, str):
            raise _wrong(f"A pattern in {SETTING}['ROUTES']", pattern, "a text like 'Invoice*'")
        if not isinstance(name, str) or name not in destinations:
            raise UnknownDestination(
                f"{SETTING}['ROUTES'][{pattern!r}] is {name!r}; it is one of "
                f"{', '.join(map(repr, sorted(destinations)))}."
            )
    types = given.get("AGGREGATE_TYPES", ["JOB", "WORKER", "PROVIDER", "SAGA"])
    for name in types:
        if not isinstance(name, str) or not 1 <= len(name) <= 20:
            raise _wrong(f"{SETTING}['AGGREGATE_TYPES']", name, "texts of 1 to 20 characters")
    largest = given.get("MAX_PAYLOAD_BYTES", 256 * 1024)
    if isinstance(largest, bool) or not 1 <= largest <= 16 * 1024 * 1024:
        raise _wrong(f"{SETTING}['MAX_PAYLOAD_BYTES']", largest, "1 to 16777216")
    return OutboxSettings(
        destinations=destinations,
        routes=dict(routes),
        aggregate_types=frozenset(types),
        source=_source(given.get("SOURCE", "/hodei")),
        namespace=_namespace(given.get("NAMESPACE", "hodei")),
        max_payload_bytes=largest,
        retention=_retention(given.get("RETENTION", {})),
    )


def _source(given: str) -> str:
    if not _SOURCE.fullmatch(given):
        allowed = "a URI reference without a query, like '/shop' or 'https://shop.example'"
        raise _wrong(f"{SETTING}['SOURCE']", given, allowed)
    return given.rstrip("/")


def _namespace(given: str) -> str:
    if not _NAMESPACE.fullmatch(given):
        allowed = "letters, digits, '_', '-' and dots between them, like 'example.shop'"
        raise _wrong(f"{SETTING}['NAMESPACE']", given, allowed)
    return given


def _retention(given: Mapping[Any, Any]) -> Retention:
    where = f"{SETTING}['RETENTION']"
    names = {name.upper(): name for name in Retention.__dataclass_fields__}
    for key, value in given.items():
        if key not in names:
            raise ImproperlyConfigured(f"{where} has a key {key!r}; it knows {', '.join(names)}.")
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 <= value <= MOST_DAYS):
            allowed = f"a whole number of days, 0 to {MOST_DAYS}, or None to keep them"
            raise _wrong(f"{where}[{key!r}]", value, allowed)
    return Retention(**{names[key]: value for key, value in given.items()})


def _destination(name: object, given: object) -> Destination:
    where = f"{SETTING}['DESTINATIONS'][{name!r}]"
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_DESTINATION:
        raise _wrong(
            f"A name in {SETTING}['DESTINATIONS']",
            name,
            f"a text of 1 to {LONGEST_DESTINATION} characters",
        )
    if not isinstance(given, Mapping):
        raise _wrong(where, given, 'a dict with "PUBLISHER"')
    _check_keys(where, given, _DESTINATION_KEYS)
    if not given.get("PUBLISHER"):
        raise ImproperlyConfigured(f"{where} has no PUBLISHER: name the dotted path of a class.")
    attempts = given.get("MAX_ATTEMPTS", 10)
    if isinstance(attempts, bool) or not 1 <= attempts <= 1000:
        raise _wrong(f"{where}['MAX_ATTEMPTS']", attempts, "1 to 1000")
    on_death = given.get("ON_DEATH", PARK)
    if on_death not in {PARK, SKIP}:
        raise _wrong(f"{where}['ON_DEATH']", on_death, f"{PARK!r} or {SKIP!r}")
    options = dict(given.get("OPTIONS", {}))
    for key in options:
        if not isinstance(key, str) or not key.isidentifier() or key != key.upper():
            raise _wrong(f"A name in {where}['OPTIONS']", key, "a text in capitals, like 'URL'")
    return Destination(
        name=name,
        publisher=given["PUBLISHER"],
        options=options,
        max_attempts=attempts,
        on_death=on_death,
    )


def _check_keys(where: str, given: Mapping[Any, Any], known: Mapping[str, type]) -> None:
    for key, value in given.items():
        if key not in known:
            raise ImproperlyConfigured(f"{where} has a key {key!r}; it knows {', '.join(known)}.")
        kind = known[key]
        fits = isinstance(value, list | tuple | set) if kind is list else isinstance(value, kind)
        if not fits:
            raise _wrong(f"{where}[{key!r}]", value, f"a {kind.__name__}")


def _wrong(what: str, found: object, allowed: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{what} is {found!r}; it is {allowed}.")


def _forget(*, setting: str, **_rest: Any) -> None:
    if setting == SETTING:
        outbox_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="outbox.conf")
