"""The history as one looks through it: a page at a time, and what belongs to a run.

Each statement is answered by an index and reads as many rows as it shows, so a page costs the same
with a hundred runs on record and with a million. Nothing is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hodei.schema.connection import connection_errors, require_postgresql
from hodei.schema.history import (
    COLUMNS,
    EVENT_OUTCOMES,
    INTERRUPTED,
    TABLE,
    Run,
    in_progress,
    run_of,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

PAGE = 50
#: Characters of an error that a list shows, at most.
CUT = 400
MOST_APPS = 1000
#: Other attempts that are told of, and how far from a run those of the same command are looked for.
MOST_ATTEMPTS = 10
NEIGHBOURS = 100

_OPEN = f"success IS NULL AND {in_progress('runs')}"
_BROKEN_OFF = f"success IS NULL AND NOT {in_progress('runs')}"
# Note [Predicates]
# The planner takes a partial index only for a condition that has the index's predicate in it, in
# so many words.
_UNSUCCESSFUL = "success IS NOT TRUE"
_RECORDED = "event <> 'run'"

#: Which rows have the outcome that ``Run.outcome`` names. See Note [Predicates].
OUTCOMES = {
    "ok": f"success AND event NOT IN ({', '.join(repr(event) for event in EVENT_OUTCOMES)})",
    "failed": f"{_UNSUCCESSFUL} AND success IS FALSE AND error IS DISTINCT FROM '{INTERRUPTED}'",
    "interrupted": (
        f"{_UNSUCCESSFUL} AND (success IS FALSE AND error = '{INTERRUPTED}' OR {_BROKEN_OFF})"
    ),
    "running": f"{_UNSUCCESSFUL} AND {_OPEN}",
    **{
        outcome: f"{_RECORDED} AND success AND event = '{event}'"
        for event, outcome in EVENT_OUTCOMES.items()
    },
}

# What a list does not show is not read: a traceback may have 50,000 characters.
_LISTED = {"error": f"left(error, {CUT}) AS error", "traceback": "NULL::text AS traceback"}
_LIST_COLUMNS = ", ".join(_LISTED.get(name, name) for name in COLUMNS.split(", "))

# From value to value of the column that leads an index, where SELECT DISTINCT reads every row.
_APPS = f"""
WITH RECURSIVE found (app) AS (
    (SELECT app FROM {TABLE} ORDER BY app LIMIT 1)
    UNION ALL
    SELECT (SELECT app FROM {TABLE} WHERE app > found.app ORDER BY app LIMIT 1)
      FROM found WHERE found.app IS NOT NULL
)
SELECT app FROM found WHERE app IS NOT NULL LIMIT {MOST_APPS}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs, and from where on: those older than one run, or those newer, or the newest."""

    app: str | None = None
    #: A key of OUTCOMES.
    outcome: str | None = None
    since: datetime | None = None
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of the runs, newest first, without tracebacks, and their errors cut to CUT."""

    runs: tuple[Run, ...]
    #: ``before`` of the page that follows, and ``after`` of the one that precedes it; None where
    #: there is none.
    older: int | None
    newer: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """What is told beside a run."""

    #: Other attempts at the same migration, newest first.
    attempts: tuple[Run, ...]
    #: What the same command did besides, in the order in which it did it.
    same_command: tuple[Run, ...]


def read_apps(using: str) -> tuple[str, ...]:
    """The apps on record, by label; none where nothing was ever recorded."""
    connection = require_postgresql(using)
    with connection_errors(using):
        if not _has_history(connection):
            return ()
        with connection.cursor() as cursor:
            cursor.execute(_APPS)
            return tuple(app for (app,) in cursor.fetchall())


def read_page(using: str, wanted: Wanted, *, size: int = PAGE) -> Page:
    """Read one page, empty where nothing was ever recorded. Raises ConnectionFailed."""
    connection = require_postgresql(using)
    with connection_errors(using):
        if not _has_history(connection):
            return Page(runs=(), older=None, newer=None)
        statement, values = page_statement(wanted, size)
        runs = _read(connection, statement, values)
    more = len(runs) > size
    runs = runs[:size]
    if wanted.after is not None:
        runs.reverse()
    ends = (runs[-1].id, runs[0].id) if runs else (None, None)
    if wanted.after is not None:
        return Page(runs=tuple(runs), older=ends[0], newer=ends[1] if more else None)
    came_from_newer = wanted.before is not None
    return Page(
        runs=tuple(runs),
        older=ends[0] if more else None,
        newer=ends[1] if came_from_newer else None,
    )


def page_statement(wanted: Wanted, size: int) -> tuple[str, list[Any]]:
    """The statement of a page and its values; it asks for one row more, to know of a next page."""
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in (
        ("app = %s", wanted.app),
        ("started_at >= %s", wanted.since),
        ("id < %s", wanted.before),
        ("id > %s", wanted.after),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if wanted.outcome is not None:
        conditions.append(f"({OUTCOMES[wanted.outcome]})")
    direction = "DESC" if wanted.after is None else "ASC"
    return _select(" AND ".join(conditions) or "true", f"id {direction}", size + 1), values


def read_related(using: str, run: Run) -> Related:
    """Read what belongs to a run that is on record. Raises ConnectionFailed.

    The runs of one command are recorded one after the other, so those of its batch are looked for
    among its neighbours alone.
    """
    connection = require_postgresql(using)
    with connection_errors(using):
        attempts = _read(
            connection,
            _select("app = %s AND name = %s AND id <> %s", "id DESC", MOST_ATTEMPTS),
            [run.app, run.name, run.id],
        )
        same_command = _read(
            connection,
            _select("id BETWEEN %s AND %s AND id <> %s AND batch = %s", "id", 2 * NEIGHBOURS),
            [run.id - NEIGHBOURS, run.id + NEIGHBOURS, run.id, run.batch],
        )
    return Related(attempts=tuple(attempts), same_command=tuple(same_command))


def _select(conditions: str, order: str, limit: int) -> str:
    return (
        f"SELECT {_LIST_COLUMNS}, {_BROKEN_OFF} FROM {TABLE} runs "
        f"WHERE {conditions} ORDER BY {order} LIMIT {limit}"
    )


def _read(connection: BaseDatabaseWrapper, statement: str, values: Sequence[Any]) -> list[Run]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [run_of(row) for row in cursor.fetchall()]


def _has_history(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [TABLE])
        (found,) = cursor.fetchone()
    return bool(found)
