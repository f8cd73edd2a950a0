"""The settings of what is on record: read when they are needed, checked as a whole.

JOBS_AUDIT    "important": what people do, failures, cancellations and lost workers; or "all":
              every transition
JOBS_EVENTS   "none", "final" or "all". Where it is not set: "none" until HODEI_OUTBOX names
              destinations; then "final", or "all" with JOBS_AUDIT = "all"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from jobs.events import ALL, FINAL, IMPORTANT
from outbox.conf import SETTING as OUTBOX
from outbox.conf import outbox_settings

AUDIT, EVENTS = "JOBS_AUDIT", "JOBS_EVENTS"
AUDITED: Mapping[str, frozenset[str]] = {"important": IMPORTANT, "all": ALL}
TOLD: Mapping[str, frozenset[str]] = {"none": frozenset(), "final": FINAL, "all": ALL}
#: Kinds of aggregates that the events are about.
AGGREGATES = ("JOB", "WORKER", "PROVIDER")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wanted:
    """What is written of transitions, by the names of ``jobs.events``."""

    #: What agents write into the audit; what people do is on record always.
    audit: frozenset[str]
    events: frozenset[str]
    #: Of each of these events.
    destinations: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def wanted() -> Wanted:
    """Raises ImproperlyConfigured, whose text names the setting, what was found and what is
    allowed."""
    audit = _choice(AUDIT, getattr(settings, AUDIT, "important"), AUDITED)
    given = getattr(settings, EVENTS, None)
    events = _choice(EVENTS, _by_default(audit) if given is None else given, TOLD)
    if events == "none":
        return Wanted(audit=AUDITED[audit], events=TOLD[events])
    if not apps.is_installed("outbox"):
        raise ImproperlyConfigured(
            f"{EVENTS} is {given!r}, and the app outbox, which stores events, is not installed. "
            "Add 'outbox' to INSTALLED_APPS, or set it to 'none'."
        )
    outbox = outbox_settings()
    missing = [kind for kind in AGGREGATES if kind not in outbox.aggregate_types]
    if missing:
        raise ImproperlyConfigured(
            f"Jobs have events ({EVENTS}), and {OUTBOX}['AGGREGATE_TYPES'] has no "
            f"{', '.join(missing)}. Add them, or set {EVENTS} to 'none'."
        )
    return Wanted(
        audit=AUDITED[audit],
        events=TOLD[events],
        destinations={name: outbox.destination_of(name) for name in sorted(TOLD[events])},
    )


def _by_default(audit: str) -> str:
    if not apps.is_installed("outbox") or not _has_destinations():
        return "none"
    return "all" if audit == "all" else "final"


def _has_destinations() -> bool:
    given = getattr(settings, OUTBOX, None)
    return isinstance(given, Mapping) and bool(given.get("DESTINATIONS"))


def _choice(name: str, given: object, known: Mapping[str, frozenset[str]]) -> str:
    if not isinstance(given, str) or given not in known:
        allowed = " or ".join(map(repr, known))
        raise ImproperlyConfigured(f"{name} is {given!r}; it is {allowed}.")
    return given


def _forget(*, setting: str, **_rest: Any) -> None:
    if setting in {AUDIT, EVENTS, OUTBOX, "INSTALLED_APPS"}:
        wanted.cache_clear()


setting_changed.connect(_forget, dispatch_uid="jobs.conf")
