"""Pure: whether a change of a column's type writes the table anew, and whether it loses something.

Source: the manual's page on ALTER TABLE (no rewrite where the old type is binary coercible to the
new one, or is the same with a wider limit); the tests compare with what a server does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_ALIASES = {
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "int2": "smallint",
    "serial": "integer",
    "bigserial": "bigint",
    "smallserial": "smallint",
    "float8": "double precision",
    "float4": "real",
    "bool": "boolean",
    "decimal": "numeric",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
    "varbit": "bit varying",
}
_INTEGERS = ("smallint", "integer", "bigint")
_TEXTS = ("text", "character varying")
#: A wider limit of these changes no value as it is stored.
_LIMITED = ("timestamp", "time ", "interval", "bit varying")
#: From, to: nothing is lost, though the table may be written anew.
_WIDER = frozenset(
    {
        ("real", "double precision"),
        ("date", "timestamp without time zone"),
        ("date", "timestamp with time zone"),
        ("json", "jsonb"),
        ("jsonb", "json"),
        ("cidr", "inet"),
        ("boolean", "integer"),
        ("timestamp without time zone", "timestamp with time zone"),
        ("timestamp with time zone", "timestamp without time zone"),
    }
)


class Change(StrEnum):
    """What a change of type does to the rows."""

    NONE = "none"
    #: Only the catalog changes.
    FREE = "free"
    REWRITE = "rewrite"


@dataclass(frozen=True, slots=True)
class Type:
    """A type's name in full and the numbers in its parentheses."""

    name: str
    limits: tuple[int, ...] = ()


def parse(text: str) -> Type:
    """``varchar(40)`` and ``character varying(40)`` are the same."""
    words = " ".join(text.lower().split())
    match = re.fullmatch(r"(?P<head>[^(]*?)\s*\((?P<limits>[\d\s,-]+)\)\s*(?P<tail>.*)", words)
    limits: tuple[int, ...] = ()
    if match:
        limits = tuple(int(part) for part in match["limits"].split(","))
        words = f"{match['head']} {match['tail']}".strip()
    return Type(_ALIASES.get(words, words), limits)


def change(old_text: str, new_text: str) -> Change:
    """What ALTER COLUMN TYPE from the one to the other does to a table. Says REWRITE in doubt."""
    old, new = parse(old_text), parse(new_text)
    if old == new:
        return Change.NONE
    return Change.FREE if _is_free(old, new) else Change.REWRITE


def _is_free(old: Type, new: Type) -> bool:
    if old.name in _TEXTS and new.name in _TEXTS:
        return _limit(new) >= _limit(old)
    if old.name != new.name:
        return (old.name, new.name) == ("cidr", "inet")
    if old.name == "numeric":
        # Another scale means another number of digits in every row.
        return _numeric_fits(old, new, same_scale=True)
    return old.name.startswith(_LIMITED) and _limit(new) >= _limit(old)


def loses(old_text: str, new_text: str) -> bool:
    """Whether values may be cut, rounded or refused: the new type holds less than the old one."""
    old, new = parse(old_text), parse(new_text)
    if old == new or new.name == "text" or (old.name, new.name) in _WIDER:
        return False
    if old.name == new.name == "numeric":
        return not _numeric_fits(old, new)
    if old.name == new.name or (old.name in _TEXTS and new.name in _TEXTS):
        return _limit(new) < _limit(old)
    if old.name in _INTEGERS and new.name in _INTEGERS:
        return _INTEGERS.index(new.name) < _INTEGERS.index(old.name)
    # Any value has a text, and any integer is a number.
    is_wide = new.name == "character varying" or (old.name in _INTEGERS and new.name == "numeric")
    return not is_wide or bool(new.limits)


def _limit(kind: Type) -> float:
    return kind.limits[0] if kind.limits else float("inf")


def _numeric_fits(old: Type, new: Type, *, same_scale: bool = False) -> bool:
    """Whether any number of the old kind is one of the new, digit for digit."""
    if not new.limits:
        return True
    if not old.limits:
        return False
    (old_scale, old_whole), (new_scale, new_whole) = _digits(old), _digits(new)
    if same_scale and new_scale != old_scale:
        return False
    return new_scale >= old_scale and new_whole >= old_whole


def _digits(kind: Type) -> tuple[int, int]:
    """How many behind the point, and how many before it."""
    scale = kind.limits[1] if len(kind.limits) > 1 else 0
    return scale, kind.limits[0] - scale
