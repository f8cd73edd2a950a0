"""Which migrations were applied when a release had migrated: from the history, read backwards.

The history knows what this service ran. What others applied, or what was there before it, has a
date in ``django_migrations`` alone, and is judged by that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from hodei.schema.history import ACCEPTED, TABLE
from hodei.schema.results import Direction, MigrationKey

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class Event(NamedTuple):
    """A migration that was applied or undone, or recorded so; in the order of the numbers."""

    number: int
    batch: UUID
    release: str
    key: MigrationKey
    direction: Direction
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The end of a run."""

    number: int
    at: datetime


@dataclass(slots=True, kw_only=True)
class Difference:
    """What is applied now, against what was applied at a moment."""

    #: Applied since.
    since: set[MigrationKey] = field(default_factory=set)
    #: Those of them that only their date in ``django_migrations`` speaks for.
    by_date: set[MigrationKey] = field(default_factory=set)
    #: Applied then, and not any more.
    missing: set[MigrationKey] = field(default_factory=set)
    #: Replacements of migrations of which then only some were applied.
    in_between: set[MigrationKey] = field(default_factory=set)


def read_events(connection: BaseDatabaseWrapper) -> list[Event]:
    """All that succeeded, oldest first; nothing where there is no history."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [TABLE])
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(
            "SELECT id, batch, release, app, name, direction, coalesce(finished_at, started_at) "
            f"FROM {TABLE} WHERE success AND event <> %s ORDER BY id",
            [ACCEPTED],
        )
        return [
            Event(number, batch, release, (app, name), Direction(direction), at)
            for number, batch, release, app, name, direction, at in cursor.fetchall()
        ]


def labels(events: Iterable[Event]) -> list[str]:
    """The releases that have applied something, the latest last."""
    found: dict[str, None] = {}
    for event in events:
        if event.release and event.direction is Direction.FORWARD:
            found.pop(event.release, None)
            found[event.release] = None
    return list(found)


def end_of(events: Sequence[Event], release: str) -> Moment | None:
    """The end of the last run in which this release has applied something. A run that only undid
    was a way out of it, and one that had nothing to do has left no trace."""
    batch = next(
        (
            event.batch
            for event in reversed(events)
            if event.release == release and event.direction is Direction.FORWARD
        ),
        None,
    )
    ends = [event for event in events if event.batch == batch]
    return Moment(number=ends[-1].number, at=ends[-1].finished_at) if ends else None


def difference(
    events: Sequence[Event],
    moment: Moment,
    *,
    applied: Mapping[MigrationKey, datetime],
    replaces: Mapping[MigrationKey, Collection[MigrationKey]],
    recorded: Collection[MigrationKey],
) -> Difference:
    """Compare ``applied``, with the dates of their records, with what was applied then.

    ``recorded`` is everything that ``django_migrations`` names, ``replaces`` what a squashed
    migration stands for.
    """
    known = _known(events, moment, replaces)
    found = Difference()
    for key, at in applied.items():
        told = {known[part] for part in _parts(key, replaces) if part in known}
        if told == {False}:
            found.since.add(key)
        elif len(told) > 1:
            found.in_between.add(key)
        elif not told and at > moment.at:
            found.since.add(key)
            found.by_date.add(key)
    gone = {key for key, was in known.items() if was} - set(applied) - set(recorded)
    inside = {part for key in gone for part in _parts(key, replaces) if part != key}
    found.missing = gone - inside
    return found


def _known(
    events: Sequence[Event],
    moment: Moment,
    replaces: Mapping[MigrationKey, Collection[MigrationKey]],
) -> dict[MigrationKey, bool]:
    """Of each migration in the history, whether it was applied then. What happened to a squashed
    one has happened to those that it stands for."""
    before: dict[MigrationKey, bool] = {}
    after: dict[MigrationKey, bool] = {}
    for event in events:
        forward = event.direction is Direction.FORWARD
        for key in {event.key, *_parts(event.key, replaces)}:
            if event.number <= moment.number:
                before[key] = forward
            else:
                # What came next tells what was: only what is applied can be undone.
                after.setdefault(key, not forward)
    return {**after, **before}


def _parts(
    key: MigrationKey, replaces: Mapping[MigrationKey, Collection[MigrationKey]]
) -> list[MigrationKey]:
    """The migrations that it stands for, or itself."""
    inner = replaces.get(key)
    return [one for part in inner for one in _parts(part, replaces)] if inner else [key]
