"""Pure: whether two texts that PostgreSQL printed mean the same.

It does not always print again what it printed: ``state IN ('A', 'B')`` on a varchar is shown as
``ANY (ARRAY['A'::character varying, ...]::text[])``, and, once that has been through a dump or a
repair, as ``ANY (ARRAY['A'::character varying::text, ...])``. So casts of string constants between
the types of text count for nothing here. Layout does neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from hodei.schema.plan.tokens import Kind, Token, tokens

Canonical = tuple[tuple[str, str], ...]


def same(one: str | None, other: str | None) -> bool:
    """Whether they mean the same, or are both absent."""
    return one == other or (
        one is not None and other is not None and canonical(one) == canonical(other)
    )


@lru_cache(maxsize=4096)
def canonical(text: str) -> Canonical:
    """The words of the text, to be compared and not to be read."""
    found = tokens(text)
    kept: list[tuple[str, str]] = []
    place = 0
    while place < len(found):
        token = found[place]
        if token.text == "::" and kept and _is_constant(kept[-1]):
            after = _after_text_type(found, place + 1)
            if after is not None:
                place = after
                continue
        kept.append((token.kind.value, token.text))
        place += 1
    return tuple(kept)


def _is_constant(last: tuple[str, str]) -> bool:
    return last[0] == Kind.STRING.value or last == (Kind.SIGN.value, "]")


def _after_text_type(found: Sequence[Token], place: int) -> int | None:
    """Where a type of text that begins there ends, or None if there is another type."""
    words = [token.text for token in found[place : place + 2]]
    if words[:1] in (["text"], ["bpchar"]):
        place += 1
    elif words == ["character", "varying"]:
        place += 2
    else:
        return None
    if [token.text for token in found[place : place + 2]] == ["[", "]"]:
        place += 2
    return place
