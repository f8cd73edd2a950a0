"""What happened in each minute of the last hour, as the three apps count it.

Nothing counts a whole hour of a busy table: of each minute only the first MOST are read, by an
index, so a look costs at most sixty times as many rows, whatever there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: Rows of one minute that are read.
MOST = 200


@dataclass(frozen=True, slots=True)
class Minute:
    """How many there were of each kind, from this moment on."""

    began: datetime
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.numbers.values())

    @property
    def is_capped(self) -> bool:
        """Whether there may have been more than were read."""
        return self.total >= MOST


def minutes_of(rows: Iterable[Sequence[Any]]) -> list[Minute]:
    """Pure: from rows of (minute, kind, number) in the order of time; a kind of None is an empty
    minute."""
    found: dict[datetime, Minute] = {}
    for began, kind, number in rows:
        minute = found.setdefault(began, Minute(began))
        if kind is not None:
            minute.numbers[kind] = minute.numbers.get(kind, 0) + number
    return list(found.values())
