"""Pure: values as these commands say them."""

from __future__ import annotations

from datetime import UTC, datetime

from hodei.redaction import redact_text

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def age(seconds: float) -> str:
    """In its largest unit: ``2.0 h``."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(seconds, 0.0):.1f} s"


def iso(at: datetime | None) -> str | None:
    """ISO 8601 in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds")


def one_line(text: str | None) -> str:
    """Without secrets, and on one line."""
    return " ".join(redact_text(text or "").split())


def counted(number: int, noun: str) -> str:
    """``1 saga``, ``12,000 sagas``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
