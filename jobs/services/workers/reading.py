"""Which workers there are."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Q

from hodei.values import check_id, check_instant, check_limit, check_text, member
from jobs.models import Worker
from jobs.states import WorkerState

#: Rows of one page of ``find``.
MOST_FOUND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPage:
    """Some workers, newest first, and where the next page begins; None where there is none."""

    workers: tuple[Worker, ...]
    after: tuple[datetime, uuid.UUID] | None


def find(
    *,
    states: Collection[WorkerState] = (),
    provider_id: uuid.UUID | None = None,
    provider_type: str | None = None,
    silent_since: datetime | None = None,
    after: tuple[datetime, uuid.UUID] | None = None,
    limit: int = 100,
    using: str = DEFAULT_DB_ALIAS,
) -> WorkerPage:
    """Return workers, newest first; each filter that is given must hold. ``silent_since`` finds
    those whose newest sign, or registration, is older. ``after`` is from the page before.

    Read-only. Raises ValueError for a limit outside 1 to MOST_FOUND, and for what no worker can
    have.
    """
    check_limit(limit, MOST_FOUND)
    check_instant("silent_since", silent_since)
    check_text("provider_type", provider_type)
    check_id("provider_id", provider_id)
    rows = Worker.objects.using(using).order_by("-created_at", "-id")
    if states:
        rows = rows.filter(
            state__in=[member(WorkerState, "states", state).value for state in states]
        )
    if provider_id is not None:
        rows = rows.filter(provider_id=provider_id)
    if provider_type is not None:
        rows = rows.filter(provider_type=provider_type)
    if silent_since is not None:
        rows = rows.filter(
            Q(last_heartbeat__lt=silent_since) | Q(last_heartbeat=None, created_at__lt=silent_since)
        )
    if after is not None:
        instant, last = after
        rows = rows.filter(created_at__lte=instant).exclude(created_at=instant, id__gte=last)
    found = tuple(rows[: limit + 1])
    shown = found[:limit]
    more = len(found) > limit
    return WorkerPage(workers=shown, after=(shown[-1].created_at, shown[-1].pk) if more else None)
