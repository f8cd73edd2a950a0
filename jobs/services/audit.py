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
from jobs import telling
from jobs.events import KINDS
from jobs.models import AuditRecord

SYSTEM = "system"
#: Records of one page, and how many there are where nobody says.
MOST_FOUND, FOUND = 1_000, 100


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
    ids = [uuid7() for _ in records]
    session.execute(
        telling.record_text(event_type),
        {
            "ids": ids,
            "correlation_ids": [given.correlation_id for given in records],
            "payloads": [json.dumps(_storable(redact(dict(given.payload)))) for given in records],
            "abouts": [given.about for given in records],
            "event_type": event_type,
            "actor": redact_text(_storable(actor))[:255],
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

    Raises ValueError for a limit outside 1 to MOST_FOUND, and for a time without a time zone.
    """
    if isinstance(limit, bool) or not 1 <= limit <= MOST_FOUND:
        raise ValueError(f"limit is {limit!r}; give 1 to {MOST_FOUND}.")
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
        instant = getattr(wanted, field)
        if instant is not None and instant.utcoffset() is None:
            raise ValueError(f"{field} is {instant!r}; it is a datetime with a time zone.")
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


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        text = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        return text.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(item) for item in value]
    return value
