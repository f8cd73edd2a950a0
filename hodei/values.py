"""What PostgreSQL and JSON can hold, and how to show in an error what they cannot. Pure: no Django,
no database.

``unstorable`` and ``json_text`` say what is wrong without naming the field: whoever asks knows it,
and has an exception of its own.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeGuard, TypeVar

from hodei.redaction import REDACTED, redact_text, secret_keys

E = TypeVar("E", bound=StrEnum)

#: Deeper than this the parsers of consumers may give up, PostgreSQL's and Python's own among them.
DEEPEST = 100
#: Years of times that can be stored.
FIRST_YEAR, LAST_YEAR = 1970, 9000
#: How long anything is kept that is deleted one day: a hundred years.
LONGEST_KEPT = timedelta(days=36_500)
#: Characters of a value in an error, and how much of it is looked at for them.
SHOWN, _LOOKED_AT = 80, 1_000

# Made once: json.dumps makes one for each call that wants anything special.
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
#: What a terminal obeys, but for lines and tabs; and what turns the direction of a text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BRACKETS = re.compile(r"[\[{]+|[\]}]+")


class NotJson(ValueError):  # noqa: N818  (it reads as the fact it states)
    """The value cannot be stored as JSON. The text goes on after the name of its field."""


class TooLarge(NotJson):
    """It is JSON, and has too many bytes."""


def shown(value: object) -> str:
    """A value as an error shows it: as Python writes it, without secrets, and not too long.
    Whatever the value is, it costs little and raises nothing."""
    text = ""
    try:
        for piece in _pieces(value):
            text += piece
            if len(text) > SHOWN:
                return f"{text[: SHOWN - 3]}..."
    except Exception:  # noqa: BLE001  (it may be any object, or a number with too many digits)
        return f"a {type(value).__name__} that cannot be shown"
    return text


def printable(text: str) -> str:
    """A text for a terminal: what would move its cursor, colour it or turn it around is written as
    Python writes it; lines and tabs stay."""
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def worded(value: object) -> str:
    """A text as it is, and anything else as an error shows it: what was meant for people's eyes."""
    return value if isinstance(value, str) else shown(value)


def said(error: BaseException) -> str:
    """What an exception says of itself, or that it cannot: a class of others may raise there."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (its class is what is left to say)
        return f"{type(error).__name__} (it cannot be shown)"


def member(kind: type[E], name: str, value: object) -> E:
    """The member of an enumeration of texts that this is. Raises ValueError, by the field."""
    found = next((one for one in kind if isinstance(value, str) and one == value), None)
    if found is None:
        raise ValueError(f"{name} is {shown(value)}; it is one of {', '.join(kind)}.")
    return found


def named(value: object) -> str:
    """What was given as an id, in an error."""
    return str(value) if isinstance(value, uuid.UUID) else shown(value)


def unstorable(text: str) -> str | None:
    """Why PostgreSQL cannot store this text, or None where it can."""
    if "\0" in text:
        return "holds a NUL character, which PostgreSQL cannot store"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"holds half a surrogate pair ({text[error.start]!r}), which is no character"
    return None


def storable(text: str) -> str:
    """The text with a replacement for each character that PostgreSQL cannot store."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def identifier(value: object) -> uuid.UUID | None:
    """The UUID that this is, or is written in this text; None where it is none."""
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def is_instant(value: object) -> TypeGuard[datetime]:
    """Whether this is a time with a time zone, of a year that every consumer of times can hold
    wherever on earth it is read."""
    return (
        isinstance(value, datetime)
        and value.utcoffset() is not None
        and FIRST_YEAR <= value.year <= LAST_YEAR
    )


def check_limit(limit: object, most: int, name: str = "limit") -> None:
    """Raise ValueError for what is no number of rows from 1 to that."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise ValueError(f"{name} is {shown(limit)}; give 1 to {most:,}.")


def check_age(name: str, value: object) -> None:
    """Raise ValueError for what is no time to keep something; None is for ever."""
    is_age = isinstance(value, timedelta) and timedelta() <= value <= LONGEST_KEPT
    if value is not None and not is_age:
        raise ValueError(
            f"{name} is {shown(value)}; it is a timedelta of 0 to {LONGEST_KEPT.days} days, or "
            "None to keep all."
        )


def check_text(name: str, value: object) -> None:
    """Raise ValueError for a text, by its name, that no row can have; None is no condition."""
    if value is not None and (not isinstance(value, str) or unstorable(value) is not None):
        raise ValueError(f"{name} is {shown(value)}; it is a text that can be stored.")


def check_instant(name: str, value: object) -> None:
    """Raise ValueError for what is no time with a time zone; None is no condition."""
    if value is not None and not is_instant(value):
        raise ValueError(
            f"{name} is {shown(value)}; it is a datetime with a time zone, between the years "
            f"{FIRST_YEAR} and {LAST_YEAR}."
        )


def check_id(name: str, value: object) -> None:
    """Raise ValueError for what is no UUID; None is no condition."""
    if value is not None and identifier(value) is None:
        raise ValueError(f"{name} is {shown(value)}; it is a UUID.")


def json_text(value: object, largest: int) -> str:
    """The value as JSON that PostgreSQL can store and everybody can read, of at most so many bytes.
    Raises NotJson."""
    try:
        text = _ENCODER.encode(value)
    except RecursionError as error:
        raise NotJson("cannot be JSON: it is nested too deeply.") from error
    except ValueError as error:
        number = _first(value, lambda part: isinstance(part, float) and not math.isfinite(part))
        words = str(error) if number is None else f"it holds {number}, which JSON does not know"
        raise NotJson(f"cannot be JSON: {words}.") from error
    except TypeError as error:
        raise NotJson(
            f"cannot be JSON: {error}. Give dicts, lists, texts, numbers, booleans and None."
        ) from error
    wrong = unstorable(text)
    if wrong is None and "\\u0000" in text:
        # A text may hold a backslash, a "u" and zeros, which is none.
        holder = _first(value, lambda part: isinstance(part, str) and "\0" in part)
        wrong = None if holder is None else unstorable("\0")
    if wrong is not None:
        raise NotJson(f"{wrong}.")
    size = len(text.encode())
    if size > largest:
        raise TooLarge(f"has {size:,} bytes as JSON; at most {largest:,} are allowed.")
    if depth(text) > DEEPEST:
        raise NotJson(f"is nested more than {DEEPEST} levels deep.")
    return text


def depth(text: str) -> int:
    """How deeply a JSON text is nested, looking at its brackets alone; 0 where they are so few that
    it cannot be DEEPEST."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return 0
    deepest = now = 0
    for run in _BRACKETS.findall(_STRING.sub("", text)):
        now += len(run) if run[0] in "[{" else -len(run)
        deepest = max(deepest, now)
    return deepest


def _pieces(value: object) -> Iterator[str]:
    """What is written of it, bit by bit: whoever has enough stops asking."""
    if isinstance(value, str):
        yield redact_text(repr(value[:_LOOKED_AT]))
    elif isinstance(value, Mapping):
        yield "{"
        hidden = secret_keys(value)
        for place, (key, part) in enumerate(value.items()):
            yield f"{', ' if place else ''}"
            yield from _pieces(key)
            yield ": "
            yield from [repr(REDACTED)] if key in hidden else _pieces(part)
        yield "}"
    elif isinstance(value, list | tuple):
        opening, closing = "[]" if isinstance(value, list) else "()"
        yield opening
        for place, part in enumerate(value):
            yield f"{', ' if place else ''}"
            yield from _pieces(part)
        yield f",{closing}" if len(value) == 1 and closing == ")" else closing
    else:
        yield redact_text(repr(value))


def _first(value: object, is_it: Callable[[object], bool]) -> object:
    """The first part of a JSON value, keys among them, of which this holds; None where none is."""
    left: list[object] = [value]
    seen: set[int] = set()
    while left:
        part = left.pop()
        if is_it(part):
            return part
        if isinstance(part, Mapping | list | tuple) and id(part) not in seen:
            # What holds itself is met once.
            seen.add(id(part))
            if isinstance(part, Mapping):
                left.extend(part.keys())
                left.extend(part.values())
            else:
                left.extend(part)
    return None
