"""Types of options: what they take, and what is said of anything else."""

from __future__ import annotations

import uuid
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime

from hodei.schema.timing import instant


def whole(things: str, least: int = 1, most: int | None = None) -> Callable[[str], int]:
    """A whole number of ``things``."""

    def number(text: str) -> int:
        try:
            found = int(text) if text.isascii() and text.isdigit() else -1
        except ValueError:
            # More digits than Python reads.
            found = -1
        if found < least or (most is not None and found > most):
            limit = "or more" if most is None else f"to {most:,}"
            raise ArgumentTypeError(f"{text!r:.80} is no number of {things}; give {least} {limit}.")
        return found

    return number


def number(name: str, least: int, most: int) -> Callable[[str], int]:
    """A whole number that may be below zero: what it is for is its ``name``."""

    def read(text: str) -> int:
        try:
            is_plain = text.isascii() and text.removeprefix("-").isdigit()
            found = int(text) if is_plain else most + 1
        except ValueError:
            # More digits than Python reads.
            found = most + 1
        if not least <= found <= most:
            raise ArgumentTypeError(f"{text!r:.80} is no {name}; give {least:,} to {most:,}.")
        return found

    return read


def seconds(least: float = 0.0, most: float = float("inf")) -> Callable[[str], float]:
    """A number of seconds, which is never infinite."""

    def number(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = -1.0
        if not least <= found <= most or found == float("inf"):
            limit = "or more" if most == float("inf") else f"to {most:,.12g}"
            raise ArgumentTypeError(
                f"{text!r:.80} is no number of seconds; give {least:g} {limit}."
            )
        return found

    return number


def past(text: str) -> datetime:
    """A date, a time, or how long ago: see ``hodei.schema.timing.instant``."""
    try:
        return instant(text, datetime.now(UTC))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def id_of(thing: str) -> Callable[[str], uuid.UUID]:
    """The id of a ``thing``."""

    def read(text: str) -> uuid.UUID:
        try:
            return uuid.UUID(text)
        except ValueError as error:
            raise ArgumentTypeError(f"{text!r:.80} is no id of a {thing}.") from error

    return read
