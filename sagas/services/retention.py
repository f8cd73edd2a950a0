"""Deletes sagas that ended long ago, whichever way, and audit events of sagas that are gone.

In batches, each a transaction of its own: it may be stopped at any moment, and the next call goes
on. What waits for a person is kept where nobody says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.sql import statement
from jobs.services.retention import LONGEST_KEPT
from sagas.states import SagaState

#: The number of the lock of whoever prunes.
PRUNE = 0x73616704
#: Rows of one batch.
BATCH = 1_000
SAGAS_KEPT, AUDIT_KEPT = timedelta(days=30), timedelta(days=90)


class PruneBusy(Exception):  # noqa: N818  (it reads as the fact it states)
    """Another process prunes this database. What this one has deleted before stays deleted."""

    def __init__(self) -> None:
        super().__init__("Another process prunes this database. Let it end, or try again later.")


@dataclass(frozen=True, slots=True)
class Pruned:
    what: str
    rows: int


def prune(
    *,
    sagas: timedelta | None = SAGAS_KEPT,
    failed: timedelta | None = None,
    audit: timedelta | None = AUDIT_KEPT,
    using: str = DEFAULT_DB_ALIAS,
    batch: int = BATCH,
) -> Iterator[Pruned]:
    """Delete what ended so long ago (None: nothing); yields what was deleted, of each kind.
    ``failed`` are sagas that wait for a person to undo what is left behind.

    Raises PruneBusy, and ValueError for an age that cannot be.
    """
    for name, age in (("sagas", sagas), ("failed", failed), ("audit", audit)):
        if age is not None and not timedelta(0) <= age <= LONGEST_KEPT:
            raise ValueError(f"{name} is {age}; give 0 to {LONGEST_KEPT.days} days, or None.")
    for what, states, age in (
        ("sagas", [SagaState.COMPLETED, SagaState.CANCELLED], sagas),
        ("failed sagas", [SagaState.FAILED], failed),
    ):
        if age is not None:
            asked = {"states": [state.value for state in states], "age": age}
            yield Pruned(what, _all("prune_sagas", asked, using, batch))
    if audit is not None:
        yield Pruned("audit events", _all("prune_audit", {"age": audit}, using, batch))


def _all(name: str, parameters: dict[str, Any], using: str, batch: int) -> int:
    total = 0
    while True:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, 0)", [PRUNE])
            if not cursor.fetchone()[0]:
                raise PruneBusy
            # The audit is append-only but for this.
            cursor.execute("SET LOCAL hodei.retention = 'on'")
            cursor.execute(statement("sagas", name), {**parameters, "batch": batch})
            deleted = int(cursor.rowcount)
        total += deleted
        if deleted < batch:
            return total
