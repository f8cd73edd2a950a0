"""Pure: an event on its way in (``NewEvent``, checked), and on its way out (``Event``)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from hodei import values
from hodei.values import NotJson, TooLarge, shown
from outbox.keys import Aggregate

LONGEST_EVENT_TYPE = 50
LONGEST_AGGREGATE_TYPE = 20
LONGEST_IDEMPOTENCY_KEY = 100
#: PostgreSQL's integer.
LARGEST_VERSION = 2**31 - 1


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
        raise EventInvalid(f"{what} is {shown(text)}; it is a text of 1 to {longest} characters.")
    if len(text) > longest:
        raise EventInvalid(
            f"{what} has {len(text)} characters ({shown(text[:60])}...); at most {longest} are "
            "allowed."
        )
    _check_text(what, text)
    return text


def check_version(version: object) -> int:
    """Return the version of a payload's shape. Raises EventInvalid."""
    allowed = isinstance(version, int) and not isinstance(version, bool)
    if not allowed or not 1 <= version <= LARGEST_VERSION:  # type: ignore[operator]
        raise EventInvalid(f"version is {shown(version)}; it is a whole number, 1 or more.")
    return version  # type: ignore[return-value]


def json_text(what: str, value: object, longest_bytes: int) -> str:
    """Return ``value`` as JSON that PostgreSQL and every consumer can read. Raises EventInvalid."""
    try:
        return values.json_text(value, longest_bytes)
    except NotJson as error:
        elsewhere = " Store what is large elsewhere, and publish where it is."
        raise EventInvalid(
            f"{what} {error}{elsewhere if isinstance(error, TooLarge) else ''}"
        ) from error


def _check_text(what: str, text: str) -> None:
    wrong = values.unstorable(text)
    if wrong is not None:
        raise EventInvalid(f"{what} {wrong}.")
