"""What an address asks for, read before any database is; a wrong one says what there is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS, connections

from hodei.schema.browsing import OUTCOMES, Wanted
from hodei.schema.errors import SchemaError
from hodei.schema.suggestions import not_found
from hodei.schema.timing import instant

if TYPE_CHECKING:
    from django.http import QueryDict

LARGEST_ID = 2**63 - 1


class AskedWrongly(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The address asks for what cannot be. The text says what can."""

    exit_code = 2


class NotThere(AskedWrongly):
    """The address asks for what does not exist, or no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAsked:
    """Which migrations to list; an app narrows the verdict too."""

    app: str | None
    pending: bool

    @property
    def narrows(self) -> bool:
        return self.pending or self.app is not None


def database_of(query: QueryDict) -> str:
    """The alias that is asked about. Raises NotThere."""
    alias = query.get("database") or DEFAULT_DB_ALIAS
    return _one_of(alias, list(connections.settings), "database")


def status_of(query: QueryDict) -> StatusAsked:
    return StatusAsked(app=query.get("app") or None, pending=bool(query.get("pending")))


def runs_of(query: QueryDict, now: datetime) -> Wanted:
    """Which runs to list. Raises AskedWrongly; ``app`` may be anything, see ``require_app``."""
    outcome = query.get("outcome") or None
    if outcome is not None:
        _one_of(outcome, OUTCOMES, "outcome")
    since = query.get("since", "").strip()
    try:
        began = instant(since, now) if since else None
    except ValueError as error:
        raise AskedWrongly(str(error)) from error
    before, after = (_cursor(query, name) for name in ("before", "after"))
    return Wanted(
        app=query.get("app") or None,
        outcome=outcome,
        since=began,
        before=before,
        after=None if before is not None else after,
    )


def require_app(app: str | None, known: Collection[str]) -> None:
    """Raise NotThere unless the app, where one is named, is among these."""
    if app is not None:
        _one_of(app, known, "app")


def run_number(text: str, database: str) -> int:
    """The number of a run. Raises NotThere for what no run can have."""
    number = _whole(text)
    if number is None:
        raise no_such_run(text, database)
    return number


def no_such_run(text: str, database: str) -> NotThere:
    return NotThere(f"There is no run {text} in the history of database {database!r}.")


def _cursor(query: QueryDict, name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    number = _whole(text)
    if number is None:
        raise AskedWrongly(f"{name}={text} is not the number of a run.")
    return number


def _whole(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_ID))):
        return None
    number = int(text)
    return number if number <= LARGEST_ID else None


def _one_of(word: str, known: Collection[str], kind: str) -> str:
    if word not in known:
        raise NotThere(not_found(kind, word, known))
    return word
