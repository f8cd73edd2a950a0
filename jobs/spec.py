"""Pure: what a job may be. Checks everything that is stored, and says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hodei import values
from hodei.values import FIRST_YEAR, LAST_YEAR, NotJson, shown

LARGEST_SPEC = 1024 * 1024
LARGEST_METADATA = 256 * 1024
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100
MOST_ATTEMPTS = 1_000
LONGEST_TIMEOUT = timedelta(days=30)
#: The columns' lengths.
LONGEST = {"name": 255, "queue": 64, "correlation_id": 255, "idempotency_key": 255}

_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class JobInvalid(ValueError):  # noqa: N818  (it reads as the fact it states)
    """What was given can be no job. Nothing was stored. The text names the field, the value and the
    rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """One job to enqueue. ``spec`` has one key, which names its executor."""

    spec: Mapping[str, Any]
    #: For people.
    name: str = ""
    queue: str = "default"
    #: -100 to 100; higher runs first within its queue.
    priority: int = 0
    #: Not before this time, which has a time zone; None is at once.
    run_after: datetime | None = None
    #: Of one run; None is the executor's default.
    timeout: timedelta | None = None
    #: Runs, the first one among them.
    max_attempts: int = 3
    correlation_id: str | None = None
    #: A second job with the same key is the first one.
    idempotency_key: str | None = None
    #: W3C traceparent.
    trace_parent: str | None = None
    metadata: Mapping[str, Any] | None = None
    #: Kept out of the queue: a saga has it run.
    orchestrated: bool = False


def check(job: NewJob) -> dict[str, Any]:
    """Return what the columns hold, JSON as texts. Raises JobInvalid."""
    return {
        "spec": json_text("spec", job.spec, LARGEST_SPEC),
        "name": _text("name", job.name, least=0),
        "queue": _text("queue", job.queue),
        "priority": checked_priority(job.priority),
        "run_after": _instant("run_after", job.run_after),
        "timeout": _duration(job.timeout),
        "max_attempts": _number("max_attempts", job.max_attempts, 1, MOST_ATTEMPTS),
        "correlation_id": _optional("correlation_id", job.correlation_id),
        "idempotency_key": _optional("idempotency_key", job.idempotency_key),
        "trace_parent": _trace_parent(job.trace_parent),
        "metadata": "{}"
        if job.metadata is None
        else json_text("metadata", job.metadata, LARGEST_METADATA),
        "orchestrated": _flag("orchestrated", job.orchestrated),
    }


def checked_priority(value: object) -> int:
    """Raises JobInvalid."""
    return _number("priority", value, LOWEST_PRIORITY, HIGHEST_PRIORITY)


def json_text(field: str, value: object, largest: int) -> str:
    """A dict as JSON that PostgreSQL can store, of at most so many bytes. Raises JobInvalid."""
    if not isinstance(value, Mapping):
        raise JobInvalid(f"{field} is {shown(value)}; it is a dict.")
    try:
        return values.json_text(dict(value), largest)
    except NotJson as error:
        raise JobInvalid(f"{field} {error}") from error


def _text(field: str, value: object, *, least: int = 1) -> str:
    longest = LONGEST[field]
    if not isinstance(value, str) or not least <= len(value) <= longest:
        raise JobInvalid(
            f"{field} is {shown(value)}; it is a text of {least} to {longest} characters."
        )
    storable(field, value)
    return value


def _optional(field: str, value: object) -> str | None:
    return None if value is None else _text(field, value)


def storable(field: str, text: str) -> None:
    """Raise JobInvalid for what is no text to PostgreSQL."""
    wrong = values.unstorable(text)
    if wrong is not None:
        raise JobInvalid(f"{field} {wrong}.")


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise JobInvalid(f"{field} is {shown(value)}; it is true or false.")
    return value


def _number(field: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise JobInvalid(f"{field} is {shown(value)}; it is a whole number from {least} to {most}.")
    return value


def _instant(field: str, value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise JobInvalid(f"{field} is {shown(value)}; it is a datetime with a time zone.")
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise JobInvalid(
            f"{field} is {value.isoformat()}; it is between the years {FIRST_YEAR} and {LAST_YEAR}."
        )
    return value


def _duration(value: object) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, timedelta) or not timedelta() < value <= LONGEST_TIMEOUT:
        raise JobInvalid(
            f"timeout is {shown(value)}; it is a timedelta, more than 0 and at most "
            f"{LONGEST_TIMEOUT.days} days."
        )
    return value


def _trace_parent(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _TRACE_PARENT.fullmatch(value):
        raise JobInvalid(f"trace_parent is {shown(value)}; it is a W3C traceparent of version 00.")
    return value
