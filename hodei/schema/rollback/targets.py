"""Pure: which migrations a wish undoes, and in which order.

A target is a set of migrations and never a point on a line: to go back to one branch of a fork is
to be without the other. What is undone is closed over all that depends on it, of other apps too.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hodei.schema.results import MigrationKey


@dataclass(frozen=True, slots=True)
class Last:
    """The migrations of all apps that were applied last."""

    steps: int = 1

    @property
    def words(self) -> list[str]:
        """As the command has it."""
        return ["--steps", str(self.steps)]


@dataclass(frozen=True, slots=True)
class After:
    """What an app has beyond this migration; ``zero`` is everything it has."""

    app: str
    name: str

    @property
    def words(self) -> list[str]:
        return [self.app, self.name]


@dataclass(frozen=True, slots=True)
class Since:
    """What was applied since the last run with this release label had ended."""

    release: str

    @property
    def words(self) -> list[str]:
        return ["--to-release", self.release]


Wish = Last | After | Since


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What there is to go back on."""

    #: Of each migration on disk those that it depends on.
    parents: Mapping[MigrationKey, Collection[MigrationKey]]
    #: Those of them that are applied, with the place of their record: a later one is greater.
    applied: Mapping[MigrationKey, int]


def last(ground: Ground, steps: int) -> set[MigrationKey]:
    newest = sorted(ground.applied, key=lambda key: ground.applied[key], reverse=True)
    return set(newest[:steps])


def beyond(ground: Ground, app: str, target: MigrationKey | None) -> set[MigrationKey]:
    """What the app would not have if it had been migrated to the target, or to nothing."""
    kept = _with_all(ground.parents, [target]) if target else set()
    return {key for key in ground.applied if key[0] == app and key not in kept}


def closed(ground: Ground, chosen: Collection[MigrationKey]) -> set[MigrationKey]:
    """The chosen, and what is applied and depends on one of them."""
    children: dict[MigrationKey, list[MigrationKey]] = {}
    for key, parents in ground.parents.items():
        for parent in parents:
            children.setdefault(parent, []).append(key)
    return {key for key in _with_all(children, chosen) if key in ground.applied}


def newest_first(ground: Ground, chosen: Collection[MigrationKey]) -> list[MigrationKey]:
    """In the order in which they can be undone: dependants first, else by their records."""
    waiting = dict.fromkeys(chosen, 0)
    for key in chosen:
        for parent in ground.parents.get(key, ()):
            if parent in waiting:
                waiting[parent] += 1
    ready = [(-ground.applied[key], key) for key, number in waiting.items() if number == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        _, key = heapq.heappop(ready)
        order.append(key)
        for parent in ground.parents.get(key, ()):
            if parent in waiting:
                waiting[parent] -= 1
                if waiting[parent] == 0:
                    heapq.heappush(ready, (-ground.applied[parent], parent))
    return order


def reason(
    ground: Ground,
    key: MigrationKey,
    chosen: Collection[MigrationKey],
    undone: Collection[MigrationKey],
) -> MigrationKey | None:
    """Of one that was not chosen: what it depends on and goes with; None for a chosen one."""
    if key in chosen:
        return None
    return next((parent for parent in sorted(ground.parents[key]) if parent in undone), None)


def _with_all(
    edges: Mapping[MigrationKey, Collection[MigrationKey]], start: Iterable[MigrationKey]
) -> set[MigrationKey]:
    found: set[MigrationKey] = set()
    ahead = list(start)
    while ahead:
        key = ahead.pop()
        if key not in found:
            found.add(key)
            ahead.extend(edges.get(key, ()))
    return found
