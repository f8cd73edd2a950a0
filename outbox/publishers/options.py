"""Options of publishers: what each may be, and the words for what it is not.

The names are the parameters of a publisher's ``__init__``; the settings and the errors have them in
capitals. A value that may hold a secret is not repeated in an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

LONGEST_TIMEOUT = 600
MOST_IN_FLIGHT = 10_000


class OptionInvalid(ImproperlyConfigured):
    """An option of a publisher cannot be used. The text says which, and what it may be."""


class ExtraMissing(ImproperlyConfigured):
    """A publisher needs a library that is not installed. The text names the extra."""

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message)
        self.extra = extra


def extra_missing(publisher: str, extra: str, error: ImportError) -> ExtraMissing:
    """The error for a library that could not be imported."""
    return ExtraMissing(
        f"{publisher} needs a library that is not installed ({error}): "
        f"pip install 'hodei[{extra}]'.",
        extra=extra,
    )


def invalid(name: str, value: object, allowed: str) -> OptionInvalid:
    """The error for an option that is something else than allowed."""
    return OptionInvalid(f"the option {name.upper()} is {value!r}; it is {allowed}.")


def text(name: str, value: Any, allowed: str = "a text that is not empty") -> str:
    if not isinstance(value, str) or not value.strip():
        raise invalid(name, value, allowed)
    return value


def whole(name: str, value: Any, least: int, most: int) -> int:
    fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    if not fits:
        raise invalid(name, value, f"a whole number from {least:,} to {most:,}")
    return int(value)


def seconds(name: str, value: Any) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not 0 < value <= LONGEST_TIMEOUT:
        raise invalid(
            name, value, f"a number of seconds, more than 0 and at most {LONGEST_TIMEOUT}"
        )
    return float(value)


def in_flight(value: Any) -> int:
    """How many events may be on their way at once."""
    return whole("in_flight", value, 1, MOST_IN_FLIGHT)


def texts(name: str, value: Any, allowed: str) -> list[str]:
    """A list of texts, which may be empty; one text alone is no list."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise invalid(name, type(value).__name__, allowed)
    if not all(isinstance(one, str) and one for one in value):
        raise OptionInvalid(f"the option {name.upper()} holds what is no text; it is {allowed}.")
    return list(value)


def file(name: str, value: Any) -> str | None:
    """The path of a file that is there, or None."""
    if value is None:
        return None
    if not isinstance(value, str | Path) or not Path(value).is_file():
        raise invalid(name, value, "the path of a file, and there is none")
    return str(value)
