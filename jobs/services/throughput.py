"""The last hour, minute by minute. Read-only, and as fast with any history."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections

from hodei.minutes import MOST, Minute, minutes_of
from hodei.sql import statement


def enqueued_by_minute(*, using: str = DEFAULT_DB_ALIAS) -> list[Minute]:
    """Jobs that were enqueued, by how they stand now, in each minute of the last hour."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement("jobs", "enqueued_by_minute"), {"most": MOST})
        return minutes_of(cursor.fetchall())
