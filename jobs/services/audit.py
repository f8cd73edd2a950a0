"""What happened and who did it: rows that nobody changes, and questions about them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Count

from hodei.compat import uuid7
from hodei.redaction import redact, redact_text
from hodei.values import check_instant, check_limit, check_text, shown, storable, worded
from jobs import telling
from jobs.events import KINDS
from jobs.models import AuditRecord

SYSTEM = "system"
#: Records of one page, and how many there are where nobody says.
MOST_FOUND, FOUND = 1_000, 100
#: Characters of what is stored beside the payload, and of the payload as JSON.
LONGEST_TEXT, LARGEST_PAYLOAD = 255, 256 * 1024
#: Numbers from here on, and what is none, are stored as texts.
LARGEST_NUMBER = 10**100


class Session(Protocol):
    """A cursor of Django's, or a connection of psycopg's."""

    def execute(self, sql: Any, parameters: Any = None, /) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What ``record`` is given, for ``record_many``."""

    payload: Mapping[str, Any]
    correlation_id: str | None = None
    about: uuid.UUID | None = None


def record(
    event_type: str,
    payload: Mapping[str, Any],
    *,
    actor: str = SYSTEM,
    correlation_id: str | None = None,
    about: uuid.UUID | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> uuid.UUID:
    """Store one record, secrets redacted; returns its id. Joins the caller's transaction.

    With ``about``, the id of a job, worker or provider whose row the caller holds, it is an event
    as well, where events of this type are wanted (JOBS_EVENTS). What PostgreSQL cannot store (NUL,
    half a surrogate pair) is replaced: a reason that somebody typed must not keep an action from
    being on record.
    """
    given = Record(payload=payload, correlation_id=correlation_id, about=about)
    with connections[using].cursor() as cursor:
        (found,) = write(cursor, event_type, [given], actor=actor)
    return found


def record_many(
    event_type: str,
    records: Sequence[Record],
    *,
    actor: str = SYSTEM,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Store records of one type, in one statement. As ``record``."""
    with connections[using].cursor() as cursor:
        write(cursor, event_type, records, actor=actor)


def write(
    session: Session, event_type: str, records: Sequence[Record], *, actor: str = SYSTEM
) -> list[uuid.UUID]:
    """The same, for agents with a connection of their own."""
    ids, event_type = [uuid7() for _ in records], worded(event_type)
    session.execute(
        telling.record_text(event_type),
        {
            "ids": ids,
            "correlation_ids": [_cut(given.correlation_id) for given in records],
            "payloads": [_payload(given.payload) for given in records],
            "abouts": [given.about for given in records],
            "event_type": _cut(event_type),
            "actor": _cut(redact_text(worded(actor))),
            "kind": KINDS.get(event_type),
            "destination": telling.destination(event_type),
        },
    )
    return ids


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which records are asked for: each that is given must hold."""

    correlation_id: str | None = None
    event_type: str | None = None
    actor: str | None = None
    #: From this time on, and before that one; with a time zone.
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Some records, newest first, and where the next page begins; None where there is none."""

    records: tuple[AuditRecord, ...]
    after: tuple[datetime, uuid.UUID] | None


def find(
    wanted: AuditFilter | None = None,
    *,
    after: tuple[datetime, uuid.UUID] | None = None,
    limit: int = FOUND,
    using: str = DEFAULT_DB_ALIAS,
) -> AuditPage:
    """Return records, newest first. ``after`` is from the page before: the next page costs as much
    as the first, and records that come meanwhile shift nothing. Read-only.

    Raises ValueError for a limit outside 1 to MOST_FOUND, for a time without a time zone, and for a
    text that no record can have.
    """
    check_limit(limit, MOST_FOUND)
    rows = _matching(wanted or AuditFilter(), using).order_by("-occurred_at", "-id")
    if after is not None:
        instant, last = after
        rows = rows.filter(occurred_at__lte=instant).exclude(occurred_at=instant, id__gte=last)
    found = tuple(rows[: limit + 1])
    shown = found[:limit]
    more = len(found) > limit
    return AuditPage(records=shown, after=(shown[-1].occurred_at, shown[-1].pk) if more else None)


def count_by_type(
    wanted: AuditFilter | None = None, *, using: str = DEFAULT_DB_ALIAS
) -> list[tuple[str, int]]:
    """Return (event type, records), largest first. It reads all that matches: give a time range."""
    rows = _matching(wanted or AuditFilter(), using).values("event_type")
    counted = rows.annotate(records=Count("pk")).order_by("-records", "event_type")
    return [(row["event_type"], row["records"]) for row in counted]


def _matching(wanted: AuditFilter, using: str) -> Any:
    for field in ("since", "until"):
        check_instant(field, getattr(wanted, field))
    for field in ("correlation_id", "event_type", "actor"):
        check_text(field, getattr(wanted, field))
    conditions = {
        "correlation_id": wanted.correlation_id,
        "event_type": wanted.event_type,
        "actor": wanted.actor,
        "occurred_at__gte": wanted.since,
        "occurred_at__lt": wanted.until,
    }
    return AuditRecord.objects.using(using).filter(
        **{name: value for name, value in conditions.items() if value is not None}
    )


def _payload(given: Mapping[str, Any]) -> str:
    """As JSON that can be stored, whatever it was; what is too long for it is cut."""
    try:
        # What holds itself, or is nested without end, is found here, and would cost too much there.
        json.dumps(dict(given), default=shown)
        text = json.dumps(_storable(redact(dict(given))), default=shown)
    except (ValueError, TypeError, RecursionError):
        return json.dumps({"cut": shown(given)})
    return text if len(text) <= LARGEST_PAYLOAD else json.dumps({"cut": text[:LARGEST_PAYLOAD]})


def _cut(text: object) -> str | None:
    return None if text is None else storable(worded(text))[:LONGEST_TEXT]


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, (float, int)) and not abs(value) < LARGEST_NUMBER:
        return shown(value)
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(item) for item in value]
    return value
