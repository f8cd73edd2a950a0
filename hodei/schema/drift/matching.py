"""Pure: which objects of two sets are the same: by name, and else by meaning."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Named(Protocol):
    @property
    def name(self) -> str: ...


Thing = TypeVar("Thing", bound=Named)


@dataclass(frozen=True, slots=True)
class Matched(Generic[Thing]):
    """Expected and actual objects, in pairs and alone."""

    same_name: list[tuple[Thing, Thing]]
    #: The same meaning under another name.
    renamed: list[tuple[Thing, Thing]]
    missing: list[Thing]
    unexpected: list[Thing]


def match(
    expected: Iterable[Thing], actual: Iterable[Thing], meaning: Callable[[Thing], Hashable]
) -> Matched[Thing]:
    """Pair by name; pair what is left where its meaning is the same."""
    there = {thing.name: thing for thing in actual}
    same_name, missing = [], []
    for thing in expected:
        if thing.name in there:
            same_name.append((thing, there.pop(thing.name)))
        else:
            missing.append(thing)
    renamed, lost = [], []
    for thing in missing:
        other = next((one for one in there.values() if meaning(one) == meaning(thing)), None)
        if other is None:
            lost.append(thing)
        else:
            renamed.append((thing, there.pop(other.name)))
    return Matched(same_name, renamed, lost, list(there.values()))
