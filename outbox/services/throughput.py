"""The last hour, minute by minute. Read-only, and as fast with any history."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections

from hodei.minutes import MOST, Minute, minutes_of
from hodei.sql import statement


def published_by_minute(*, using: str = DEFAULT_DB_ALIAS) -> list[Minute]:
    """Events that were delivered, in each minute of the last hour."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement("outbox", "published_by_minute"), {"most": MOST})
        return minutes_of(cursor.fetchall())
