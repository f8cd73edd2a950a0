"""How many sagas are under way, and which of them wait for a person. Read-only, and as fast with
any history."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from hodei.sql import statement
from sagas import registry
from sagas.definition import steps_hash
from sagas.services.inspection import UNTAKEN

#: Counts of more than this are not counted to their end.
MOST_COUNTED = 10_000
#: Of each version of a kind, in each state: sagas whose definition is looked for.
MOST_OVERDUE = 100
#: Sagas that wait for a person are not counted further, of each way to them.
MOST_WAITING = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What is under way. Counts end at MOST_COUNTED."""

    pending: int
    in_progress: int
    compensating: int
    #: Due for a minute, and no runner has taken them.
    untaken: int
    #: How long the first of those has been due.
    overdue: timedelta | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A saga that does not go on by itself, and why."""

    id: uuid.UUID
    kind: str
    why: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Found:
    """Those that have waited longest, and how many there are."""

    sagas: Sequence[Waiting]
    number: int


def statistics(*, using: str = DEFAULT_DB_ALIAS) -> Statistics:
    """Count what is live, and what nobody has taken."""
    with connections[using].cursor() as cursor:
        asked: dict[str, Any] = {"cap": MOST_COUNTED, "untaken": UNTAKEN}
        cursor.execute(statement("sagas", "statistics"), asked)
        pending, in_progress, compensating, untaken, overdue = cursor.fetchone()
    return Statistics(
        pending=pending,
        in_progress=in_progress,
        compensating=compensating,
        untaken=untaken,
        overdue=overdue,
    )


def for_a_person(shown: int, *, using: str = DEFAULT_DB_ALIAS) -> Found:
    """Live sagas with an incident, and those that ended with something left behind. From
    MOST_WAITING on there may be more."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            statement("sagas", "for_a_person"),
            {"cap": MOST_WAITING, "shown": max(shown, 1)},
        )
        rows = cursor.fetchall()
    return Found([Waiting(*row[:4]) for row in rows[:shown]], rows[0][4] if rows else 0)


def of_unknown_version(shown: int, *, using: str = DEFAULT_DB_ALIAS) -> Found:
    """Live sagas that have been due for a while since nobody knows their definition as it was: this
    process does not, and no runner drives others that were started with it. Of each version the
    MOST_OVERDUE that have waited longest are looked at."""
    known = {(one.kind, one.version, steps_hash(one)) for one in registry.definitions()}
    asked: dict[str, Any] = {"untaken": UNTAKEN, "each": MOST_OVERDUE}
    with connections[using].cursor() as cursor:
        cursor.execute(statement("sagas", "longest_due"), asked)
        found = [
            Waiting(
                key,
                kind,
                f"Nobody knows version {version} as it was when it was started.",
                due_at,
            )
            for key, kind, version, steps, due_at, is_driven in cursor.fetchall()
            if not is_driven and (kind, version, steps) not in known
        ]
    return Found(found[:shown], len(found))
