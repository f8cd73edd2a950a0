"""Delete what is done and old: published events, what consumers have seen, and, where it is wanted,
dead letters that were dealt with.

In batches that commit one by one, oldest first, so that it can be killed at any time and goes on
where it was; one at a time on a database; and never an event that waits or is a dead letter's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS

from hodei.sessions import connect, is_pooled
from hodei.sql import statement
from hodei.values import check_limit, shown
from outbox.conf import MOST_DAYS, Retention, outbox_settings

if TYPE_CHECKING:
    import psycopg

#: Rows of one transaction: some tens of milliseconds.
BATCH, MOST_OF_A_BATCH = 5_000, 100_000
#: The first number of the advisory lock; the second is 0.
PRUNE = 0x6F757403

#: What is deleted, in this order: the names in the statements, in Retention and in Pruned.
_KINDS = (
    ("events", "published_days", "events"),
    ("inbox", "inbox_days", "inbox"),
    ("letters", "dead_letter_days", "dead_letters"),
)

Tell = Callable[["Pruned"], None]


class PruneBusy(Exception):  # noqa: N818  (it reads as the fact it states)
    """Another prune holds the lock of this database. Nothing more was deleted."""

    def __init__(self) -> None:
        super().__init__("Another outbox_prune is at work on this database. Let it end.")


@dataclass(slots=True, kw_only=True)
class Pruned:
    """How many rows were deleted, or would be. Those of a kind that is kept are 0."""

    events: int = 0
    inbox: int = 0
    dead_letters: int = 0
    #: It was stopped before the end; the next run goes on there.
    is_interrupted: bool = False

    @property
    def total(self) -> int:
        return self.events + self.inbox + self.dead_letters


def prune(
    retention: Retention | None = None,
    *,
    batch: int = BATCH,
    dry_run: bool = False,
    stop: threading.Event | None = None,
    tell: Tell | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Pruned:
    """Delete what is older than ``retention`` says; without it, than HODEI_OUTBOX says.

    Works over a connection of its own, one transaction for each batch. What is old is decided by
    the server's clock, once at the start. ``stop`` ends it between two batches, ``tell`` is given
    what was done so far after each. ``dry_run`` counts and deletes nothing. Raises PruneBusy,
    ValueError, ImproperlyConfigured and psycopg.Error.
    """
    wanted = outbox_settings().retention if retention is None else retention
    _check(wanted, batch)
    run = _Run(batch=batch, stop=stop or threading.Event(), tell=tell)
    with closing(connect(using, "hodei outbox prune")) as session:
        run.pooled = is_pooled(session)
        if not run.pooled and not dry_run:
            _lock(session, "pg_try_advisory_lock")
        for name, setting, counter in _KINDS:
            days = getattr(wanted, setting)
            if days is None:
                continue
            before = _value(session, "SELECT statement_timestamp() - %s * interval '1 day'", [days])
            if dry_run:
                counting = statement("outbox", f"count_old_{name}")
                setattr(run.pruned, counter, _value(session, counting, {"before": before}))
            else:
                run.delete(session, name, counter, before)
        if not run.pooled and not dry_run:
            # The server ends a session some time after it was closed; the next run need not wait.
            _value(session, "SELECT pg_advisory_unlock(%s, 0)", [PRUNE])
    return run.pruned


@dataclass(slots=True, kw_only=True)
class _Run:
    batch: int
    stop: threading.Event
    tell: Tell | None
    pooled: bool = False
    pruned: Pruned = field(default_factory=Pruned)

    def delete(
        self, session: psycopg.Connection[Any], name: str, counter: str, before: datetime
    ) -> None:
        """Delete what is older, batch by batch. Where it was is a text: there are times that only
        the server can read."""
        since = "-infinity"
        while True:
            if self.stop.is_set():
                self.pruned.is_interrupted = True
                return
            asked = {"since": since, "before": before, "batch": self.batch}
            with session.transaction():
                if self.pooled:
                    # A session's lock would stay with the pooler.
                    _lock(session, "pg_try_advisory_xact_lock")
                rows = session.execute(statement("outbox", f"prune_{name}"), asked).fetchall()
            # Deleted, the newest, and how many were found.
            ((number, newest, found),) = rows
            if number:
                setattr(self.pruned, counter, getattr(self.pruned, counter) + number)
                if self.tell is not None:
                    self.tell(self.pruned)
            # What was left out, because somebody has its row, is left to the next run.
            if found < self.batch or not number:
                return
            since = newest


def _value(session: psycopg.Connection[Any], sql: str, parameters: Any) -> Any:
    ((found,),) = session.execute(sql, parameters).fetchall()
    return found


def _lock(session: psycopg.Connection[Any], function: str) -> None:
    if not _value(session, f"SELECT {function}(%s, 0)", [PRUNE]):
        raise PruneBusy


def _check(wanted: Retention, batch: int) -> None:
    for _name, setting, _counter in _KINDS:
        days = getattr(wanted, setting)
        is_number = isinstance(days, int) and not isinstance(days, bool)
        if days is not None and not (is_number and 0 <= days <= MOST_DAYS):
            raise ValueError(
                f"{setting} is {shown(days)}; it is a whole number of days, 0 to {MOST_DAYS}, or "
                "None."
            )
    check_limit(batch, MOST_OF_A_BATCH, "batch")
