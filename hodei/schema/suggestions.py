"""Pure: what somebody may have meant who typed a name that does not exist."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from hodei.values import shown

#: Characters of a word that are looked at.
LONGEST_WORD = 200


def near_matches(word: str, known: Collection[str], limit: int = 3) -> list[str]:
    """Return the names closest to the word, best first: alike in letters, or holding the word."""
    by_case = {name.lower(): name for name in sorted(known, reverse=True)}
    alike = get_close_matches(word.lower(), sorted(by_case), n=limit, cutoff=0.6)
    holding = sorted(name for name in by_case if len(word) >= 2 and word.lower() in name)
    return [by_case[name] for name in dict.fromkeys([*alike, *holding])][:limit]


def not_found(kind: str, word: str, known: Collection[str]) -> str:
    """Say that there is no such thing, and what there is: the near ones, or all of them."""
    near = near_matches(word[:LONGEST_WORD], known)
    if near:
        return f"There is no {kind} {shown(word)}. Did you mean {' or '.join(near)}?"
    return f"There is no {kind} {shown(word)}; there are: {', '.join(sorted(known)) or 'none'}."
