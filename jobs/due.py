"""Pure: which of a schedule's times get a job, and when it is due next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from jobs import cron
from jobs.states import Missed

#: A time is missed when it is dealt with so much later; sooner it is late, and runs.
LATE = timedelta(seconds=60)
#: Times that one look deals with, for ALL; the rest is for the next look.
MOST_AT_ONCE = 100
#: Missed times that are counted; of more it is only known that there are so many.
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What one look at a schedule decides."""

    #: The times that get a job, oldest first.
    run: tuple[datetime, ...]
    #: Times that get none, since nobody ticked then.
    missed: int
    #: When to look again; it may have passed already. None: never.
    next_run_at: datetime | None


def decide(
    *, expression: str, time_zone: str, missed: Missed, next_run_at: datetime, now: datetime
) -> Due:
    """Deal with the times from ``next_run_at`` to ``now``, which is the database's clock.

    ONCE gives one job to all the missed times together, for the newest of them; what is merely late
    has its own. Raises CronInvalid for what cannot have been stored by us.
    """
    coming = cron.times(expression, time_zone, after=next_run_at)
    if next_run_at > now:
        return Due(run=(), missed=0, next_run_at=next_run_at)
    border = now - LATE
    if missed is Missed.ALL:
        due = [next_run_at, *islice(_until(coming, now), MOST_AT_ONCE - 1)]
        after = next(cron.times(expression, time_zone, after=due[-1]), None)
        return Due(run=tuple(due), missed=0, next_run_at=after)
    late: list[datetime] = []
    newest_missed, count = None, 0
    if next_run_at <= border:
        newest_missed, count, coming = _skip(expression, time_zone, next_run_at, border)
    else:
        late.append(next_run_at)
    late += _until(coming, now)
    after = next(cron.times(expression, time_zone, after=now), None)
    if newest_missed is not None and missed is Missed.ONCE:
        return Due(run=(newest_missed, *late), missed=count - 1, next_run_at=after)
    return Due(run=tuple(late), missed=count, next_run_at=after)


def _skip(
    expression: str, time_zone: str, first: datetime, border: datetime
) -> tuple[datetime, int, Iterator[datetime]]:
    """The newest time up to the border, how many there are (see MOST_COUNTED), what follows it."""
    later = list(
        islice(_until(cron.times(expression, time_zone, after=first), border), MOST_COUNTED)
    )
    newest = later[-1] if later else first
    if len(later) == MOST_COUNTED:
        newest = _newest(expression, time_zone, newest, border)
    return newest, 1 + len(later), cron.times(expression, time_zone, after=newest)


def _newest(expression: str, time_zone: str, known: datetime, border: datetime) -> datetime:
    """The newest time up to the border, without walking over the years before it."""
    for days in (1, 40, 400):
        start = border - timedelta(days=days)
        if start <= known:
            break
        found = deque(_until(cron.times(expression, time_zone, after=start), border), maxlen=1)
        if found:
            return found[0]
    return deque(
        [known, *_until(cron.times(expression, time_zone, after=known), border)], maxlen=1
    )[0]


def _until(instants: Iterator[datetime], last: datetime) -> Iterator[datetime]:
    for instant in instants:
        if instant > last:
            return
        yield instant
