"""The same for all dead letters that match a filter: previewed, limited, in small transactions.

It can be stopped between two of them, and gone on with later: what was done is on record under the
id of the batch, and is not done again under the same id, even if it has died once more.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Count, F, Max, Min, QuerySet
from django.db.transaction import TransactionManagementError

from hodei.values import check_limit, shown
from outbox.models import DeadLetter
from outbox.services.dead_letters.acting import Deed, act
from outbox.services.dead_letters.filters import LetterFilter, letters, not_in_batch
from outbox.services.dead_letters.refusals import DeadLetterError
from outbox.states import DeadLetterAction

#: Dead letters of one transaction.
CHUNK = 500
#: Dead letters of one run.
MOST_ACTED = 1_000_000_000
#: Refusals of a run that are kept; all are counted.
MOST_REFUSALS = 20

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a filter means at this moment."""

    matching: int
    #: How many of them the limit leaves.
    selected: int
    aggregates: int
    first_at: object
    last_at: object


@dataclass(slots=True, kw_only=True)
class BulkResult:
    """What a run has done. ``batch_id`` is the one to go on with."""

    batch_id: uuid.UUID
    selected: int
    done: int = 0
    #: Of those done: how many wait behind another event of their aggregate.
    waiting: int = 0
    refused: int = 0
    #: The first of them.
    refusals: list[DeadLetterError] = field(default_factory=list)
    is_interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """Pure: so many a second, in portions that take a quarter of a second or longer."""

    per_second: float | None

    def __post_init__(self) -> None:
        rate: object = self.per_second
        is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
        if rate is not None and not (is_number and 0 < rate < float("inf")):  # type: ignore[operator]
            raise ValueError(f"The rate is {shown(rate)}; it is a number above 0 a second.")

    @property
    def portion(self) -> int:
        if self.per_second is None:
            return CHUNK
        return max(1, min(CHUNK, int(self.per_second / 4)))

    def pause(self, done: int, elapsed: float) -> float:
        """Seconds to wait until more may be done, after so many in so long."""
        return 0.0 if self.per_second is None else max(done / self.per_second - elapsed, 0.0)


def preview(
    wanted: LetterFilter,
    *,
    limit: int | None = None,
    batch_id: uuid.UUID | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Preview:
    """Count what a run would do. Changes nothing. Raises ValueError for a limit that is none."""
    _check_limit(limit)
    found = _rows(wanted, batch_id, using).aggregate(
        matching=Count("pk"),
        aggregates=Count("aggregate_id", distinct=True),
        first_at=Min("moved_at"),
        last_at=Max("moved_at"),
    )
    matching = found["matching"]
    return Preview(selected=matching if limit is None else min(matching, limit), **found)


def act_where(
    wanted: LetterFilter,
    deed: Deed,
    *,
    limit: int | None = None,
    rate: float | None = None,
    stop: threading.Event | None = None,
    tell: Tell | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> BulkResult:
    """Do it with all that match, the oldest events first, at most ``limit``, ``rate`` a second.

    Owns its transactions, one for each few hundred. ``stop`` ends it between two of them. ``tell``
    is given how many were done and how many there are. ``deed.batch_id`` goes on with an earlier
    run: what that has done is left out. What somebody else deals with meanwhile is counted as
    refused. Raises TransactionManagementError inside of a transaction, and ValueError.
    """
    pace, stop = Rate(rate), stop or threading.Event()
    _check_limit(limit)
    if not connections[using].get_autocommit():
        raise TransactionManagementError(
            "A bulk action commits as it goes: it cannot be called inside of a transaction."
        )
    batch_id = deed.batch_id or uuid.uuid4()
    deed = replace(deed, batch_id=batch_id)
    # Order within an aggregate, and the same selection however long it takes. 100 bytes each.
    rows = _rows(wanted, batch_id, using)
    oldest_first = rows.order_by(F("seq").asc(nulls_first=True), "original_created_at", "pk")
    ids = list(oldest_first.values_list("pk", flat=True)[:limit])
    result = BulkResult(batch_id=batch_id, selected=len(ids))
    started = time.monotonic()
    for place in range(0, len(ids), pace.portion):
        if stop.wait(pace.pause(place, time.monotonic() - started)):
            result.is_interrupted = True
            break
        _portion(ids[place : place + pace.portion], deed, result, using)
        if tell is not None:
            tell(min(place + pace.portion, len(ids)), len(ids))
    return result


def requeue_where(
    wanted: LetterFilter,
    *,
    by: str,
    note: str,
    limit: int | None = None,
    rate: float | None = None,
    dry_run: bool = False,
    batch_id: uuid.UUID | None = None,
    stop: threading.Event | None = None,
    tell: Tell | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> BulkResult | Preview:
    """Requeue all that match; with ``dry_run`` only count them. See ``act_where``."""
    if dry_run:
        return preview(wanted, limit=limit, batch_id=batch_id, using=using)
    deed = Deed(action=DeadLetterAction.REQUEUED, by=by, note=note, batch_id=batch_id)
    return act_where(wanted, deed, limit=limit, rate=rate, stop=stop, tell=tell, using=using)


def _portion(ids: Sequence[uuid.UUID], deed: Deed, result: BulkResult, using: str) -> None:
    with transaction.atomic(using=using):
        done, refused = act(ids, deed, using)
    result.done += len(done)
    result.waiting += sum(1 for one in done if one.waits_behind is not None)
    # What retention has deleted meanwhile is no longer there to be refused.
    result.refused += len(ids) - len(done)
    result.refusals += refused[: MOST_REFUSALS - len(result.refusals)]


def _rows(wanted: LetterFilter, batch_id: uuid.UUID | None, using: str) -> QuerySet[DeadLetter]:
    rows = letters(wanted, using)
    return rows if batch_id is None else rows.filter(not_in_batch(batch_id))


def _check_limit(limit: int | None) -> None:
    if limit is not None:
        check_limit(limit, MOST_ACTED, "The limit")
