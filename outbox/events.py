"""Pure: an event on its way in (``NewEvent``, checked), and on its way out (``Event``)."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from outbox.keys import Aggregate

LONGEST_EVENT_TYPE = 50
LONGEST_AGGREGATE_TYPE = 20
LONGEST_IDEMPOTENCY_KEY = 100
#: PostgreSQL's integer.
LARGEST_VERSION = 2**31 - 1
#: Deeper than this the parsers of consumers may give up, PostgreSQL's own among them.
DEEPEST = 100
# Made once: json.dumps makes one for each call that wants anything special.
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


class EventInvalid(ValueError):  # noqa: N818  (it reads as the fact it states)
    """What was given can be no event. Nothing was stored. The text says what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that was checked and is about to be stored."""

    id: uuid.UUID
    event_type: str
    version: int
    aggregate: Aggregate
    #: JSON texts.
    payload: str
    metadata: str | None
    idempotency_key: str | None
    destination: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event as a publisher gets it. ``attempt`` counts from 1."""

    id: uuid.UUID
    seq: int
    event_type: str
    version: int
    aggregate_type: str
    aggregate_id: uuid.UUID
    #: The caller's own key; the text of the UUID where that is the key.
    subject: str
    #: The payload as JSON text, and parsed once where it is asked for.
    data: str
    metadata: Mapping[str, Any]
    idempotency_key: str | None
    #: Start of the transaction that wrote it: aware, in the time zone of the relay's session, and
    #: in UTC in the envelope.
    created_at: datetime
    destination: str
    attempt: int = 1

    @cached_property
    def payload(self) -> Any:
        return json.loads(self.data)

    @property
    def key(self) -> tuple[str, uuid.UUID]:
        """Events with the same key are delivered in the order of ``seq``."""
        return self.aggregate_type, self.aggregate_id


def check_name(what: str, text: object, longest: int) -> str:
    """Return a text that can be stored in a column of that length. Raises EventInvalid."""
    if not isinstance(text, str) or not text.strip():
        raise EventInvalid(f"{what} is {text!r}; it is a text of 1 to {longest} characters.")
    if len(text) > longest:
        raise EventInvalid(
            f"{what} has {len(text)} characters ({text[:60]!r}...); at most {longest} are allowed."
        )
    _check_text(what, text)
    return text


def check_version(version: object) -> int:
    """Return the version of a payload's shape. Raises EventInvalid."""
    allowed = isinstance(version, int) and not isinstance(version, bool)
    if not allowed or not 1 <= version <= LARGEST_VERSION:  # type: ignore[operator]
        raise EventInvalid(f"version is {version!r}; it is a whole number, 1 or more.")
    return version  # type: ignore[return-value]


def json_text(what: str, value: object, longest_bytes: int) -> str:
    """Return ``value`` as JSON that PostgreSQL and every consumer can read. Raises EventInvalid."""
    try:
        text = _ENCODER.encode(value)
    except ValueError as error:
        raise EventInvalid(f"{what} cannot be JSON: {_reason(value, str(error))}.") from error
    except (TypeError, RecursionError) as error:
        words = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise EventInvalid(
            f"{what} cannot be JSON: {words}. Give dicts, lists, texts, numbers, booleans and None."
        ) from error
    _check_text(what, text)
    if "\\u0000" in text and _has_nul(value):
        raise EventInvalid(f"{what} holds a NUL character, which PostgreSQL cannot store.")
    size = len(text.encode())
    if size > longest_bytes:
        raise EventInvalid(
            f"{what} has {size:,} bytes as JSON; at most {longest_bytes:,} are allowed. Store what "
            "is large elsewhere, and publish where it is."
        )
    if _depth(text) > DEEPEST:
        raise EventInvalid(f"{what} is nested more than {DEEPEST} levels deep.")
    return text


def _check_text(what: str, text: str) -> None:
    if "\0" in text:
        raise EventInvalid(f"{what} holds a NUL character, which PostgreSQL cannot store.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EventInvalid(
            f"{what} holds half a surrogate pair ({text[error.start]!r}), which is no character."
        ) from error


def _reason(value: object, words: str) -> str:
    number = _not_a_number(value)
    if number is not None:
        return f"it holds {number}, which JSON does not know"
    return words


def _not_a_number(value: object) -> float | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else value
    if isinstance(value, Mapping):
        parts: Any = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    else:
        return None
    return next((found for part in parts if (found := _not_a_number(part)) is not None), None)


def _has_nul(value: object) -> bool:
    # A text may hold a backslash, a "u" and zeros, which is none.
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_has_nul(key) or _has_nul(part) for key, part in value.items())
    return isinstance(value, list | tuple) and any(map(_has_nul, value))


def _depth(text: str) -> int:
    """How deeply a JSON text is nested, looking at its brackets alone."""
    deepest = depth = 0
    inside = escaped = False
    if text.count("[") + text.count("{") <= DEEPEST:
        return 0
    for letter in text:
        if inside:
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == '"':
                inside = False
        elif letter == '"':
            inside = True
        elif letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
    return deepest
