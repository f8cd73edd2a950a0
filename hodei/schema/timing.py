"""Pure: spans of time as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hodei.values import FIRST_YEAR, is_instant, shown

_EARLIEST = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration(milliseconds: int | None) -> str:
    """As a cell of a table; a dash for what is not known."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def instant(text: str, now: datetime) -> datetime:
    """Read an ISO 8601 date or time (UTC where it names no zone), or a span before ``now``: 90m,
    12h, 7d. Raises ValueError."""
    span = re.fullmatch(r"(\d+)([smhdw])", text.strip())
    found: object = None
    try:
        if span:
            return max(now - timedelta(**{_UNITS[span[2]]: int(span[1])}), _EARLIEST)
        given = datetime.fromisoformat(text.strip())
        found = given if given.tzinfo else given.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    if not is_instant(found):
        raise ValueError(
            f"{shown(text)} is no time: write a date (2026-03-31), a time (2026-03-31T12:00) in "
            "UTC, or how long ago it was (90m, 12h, 7d)."
        )
    return found
