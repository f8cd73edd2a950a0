"""Pure: values as the commands of the apps say them, in words and in JSON."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from hodei.redaction import redact_text

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def age(seconds: float | None) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``; a dash for None."""
    if seconds is None:
        return "-"
    left = max(int(seconds), 0)
    parts: list[str] = []
    for unit, size in _UNITS:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}")
        if parts and (len(parts) == 2 or unit == "min"):
            # Nobody needs the seconds of an hour.
            break
    return " ".join(parts) or "0 s"


def short_age(seconds: float | None) -> str:
    """The same in its largest unit alone."""
    return " ".join(age(seconds).split()[:2])


def one_line(text: str | None) -> str:
    """An error or a note on one line, without secrets."""
    return " ".join(redact_text(text or "").split())


def short_id(value: uuid.UUID) -> str:
    """The first digits, which the commands of the outbox understand."""
    return str(value)[:8]


def moment(at: datetime | None) -> str:
    """In UTC, to the second; a dash for None."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def moment_of(text: str) -> str:
    """The same of a time as JSON has it, with its zone."""
    return f"{moment(datetime.fromisoformat(text))} UTC"


def iso(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, for JSON."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds")


def counted(number: int, noun: str, nouns: str = "") -> str:
    """``1 event``, ``12,000 events``; ``nouns`` where it is no plain plural."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"
