"""Deletes sagas that ended long ago, whichever way, and audit events of sagas that are gone.

In batches, each a transaction of its own: it may be stopped at any moment, and the next call goes
on. What waits for a person is kept where nobody says otherwise. Called as that of jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.sql import statement
from hodei.values import check_age, check_limit
from jobs.services.retention import BATCH, MOST_COUNTED, MOST_OF_A_BATCH, PruneBusy, Pruned
from sagas.states import SagaState

#: The number of the lock of whoever prunes.
PRUNE = 0x73616704


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long things are kept after their end; None keeps them for ever."""

    sagas: timedelta | None = timedelta(days=30)
    #: Sagas that wait for a person to undo what is left behind.
    failed: timedelta | None = None
    #: Audit events, of sagas that are gone.
    audit: timedelta | None = timedelta(days=90)

    def __post_init__(self) -> None:
        """Refuse an age that cannot be."""
        for name in ("sagas", "failed", "audit"):
            check_age(name, getattr(self, name))


def prune(
    keep: Keep | None = None,
    *,
    using: str = DEFAULT_DB_ALIAS,
    batch: int = BATCH,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Pruned]:
    """Delete what is old, kind after kind, and yield what was deleted of each. ``stop`` is asked
    between batches. Each batch is a transaction: not to be called within one.

    Raises PruneBusy, and ValueError for a batch outside 1 to MOST_OF_A_BATCH.
    """
    check_limit(batch, MOST_OF_A_BATCH, "batch")
    for what, table, asked in _kinds(keep or Keep()):
        yield Pruned(what, _delete(f"prune_{table}", asked, using, batch, stop))
        if stop():
            return


def preview(keep: Keep | None = None, *, using: str = DEFAULT_DB_ALIAS) -> Iterator[Pruned]:
    """Yield what ``prune`` would delete now, up to MOST_COUNTED of each kind. Read-only."""
    for what, table, asked in _kinds(keep or Keep()):
        with connections[using].cursor() as cursor:
            query = statement("sagas", f"prunable_{table}")
            cursor.execute(query, {**asked, "most": MOST_COUNTED})
            number = int(cursor.fetchone()[0])
        yield Pruned(what, number, is_capped=number == MOST_COUNTED)


def _kinds(keep: Keep) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What there is to delete: its name, whose statement, and the parameters of that."""
    for what, states, age in (
        ("sagas", [SagaState.COMPLETED, SagaState.CANCELLED], keep.sagas),
        ("failed sagas", [SagaState.FAILED], keep.failed),
    ):
        if age is not None:
            yield what, "sagas", {"states": [state.value for state in states], "age": age}
    if keep.audit is not None:
        yield "audit events", "audit", {"age": keep.audit}


def _delete(
    name: str, parameters: dict[str, Any], using: str, batch: int, stop: Callable[[], bool]
) -> int:
    total = 0
    # Where it was is a text: there are times that only the server can read.
    since = "-infinity"
    deleted: int
    while True:
        with transaction.atomic(using=using, durable=True), connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, 0)", [PRUNE])
            if not cursor.fetchone()[0]:
                raise PruneBusy
            # The audit is append-only but for this.
            cursor.execute("SET LOCAL hodei.retention = 'on'")
            asked = {**parameters, "batch": batch, "since": since}
            cursor.execute(statement("sagas", name), asked)
            deleted, newest = cursor.fetchone()
        total += deleted
        # What was left out, because somebody has its row, is left to the next run.
        if deleted < batch or stop():
            return total
        since = newest
