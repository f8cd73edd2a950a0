"""Pure: what an endpoint's answer says about the event, and about the endpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from hodei.redaction import redact_text
from outbox.outcomes import (
    DELIVERED,
    LONGEST_RETRY_AFTER,
    Outcome,
    down,
    permanent,
    rejected,
)

#: Characters of an answer that are kept.
MOST_SHOWN = 200
#: Refusals that may be about the moment and not about the event, so an attempt is spent: a receiver
#: that is being deployed, or whose keys are being changed, answers 401 or 404 to everything.
_REJECTED = frozenset({401, 403, 404, 405, 408, 409, 425})
#: About the destination: it takes nothing from anybody now.
_DOWN = frozenset({429, 502, 503, 504})
_GONE = 410


def outcome_of(status: int, headers: Any, text: str, *, now: datetime) -> Outcome:
    """What the status of an answer says about the event, and about the endpoint."""
    if 200 <= status < 300:
        return DELIVERED
    code, message = f"http_{status}", f"HTTP {status}: {_shown(text)}"
    retry_after = retry_after_of(headers.get("retry-after"), now=now)
    if status == _GONE:
        return down(
            "gone",
            f"HTTP {status}: the endpoint wants no more events. Route them elsewhere, or have it "
            "opened again.",
            retry_after=LONGEST_RETRY_AFTER,
        )
    if 300 <= status < 400:
        where = redact_text(str(headers.get("location", "nowhere")))[:MOST_SHOWN]
        return down("redirected", f"HTTP {status} to {where!r}; redirects are not followed.")
    if status in _DOWN:
        return down(code, message, retry_after=retry_after)
    if status in _REJECTED or status >= 500 or status < 200:
        return rejected(code, message, retry_after=retry_after)
    return permanent(code, message)


def retry_after_of(value: str | None, *, now: datetime) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3); a day at most."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        # More digits than a day has need not be read.
        wanted = float(value[:9]) if len(value) <= 9 else LONGEST_RETRY_AFTER
    else:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        wanted = (date - now).total_seconds()
    return min(max(wanted, 0.0), LONGEST_RETRY_AFTER)


def _shown(text: str) -> str:
    """One line for a person, and secrets out of it before a cut can hide what they are."""
    printable = "".join(letter if letter.isprintable() else " " for letter in redact_text(text))
    line = " ".join(printable.split())
    return line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]}..."
