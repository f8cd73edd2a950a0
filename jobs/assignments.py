"""Jobs that a saga has leased to a worker: the worker finds them by looking, now and then."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from hodei.sql import statement
from jobs import telling
from jobs.runs import Claimed

if TYPE_CHECKING:
    import psycopg

#: Seconds between two looks; and of a worker that sleeps until somebody rings, as whoever leases a
#: job does.
LOOK_SECONDS, ASLEEP_SECONDS = 1.0, 10.0


class Assignments:
    """What was leased to one worker. On the fetcher's connection, in its thread."""

    def __init__(self, worker: uuid.UUID) -> None:
        self._worker = worker
        self._look_at = 0.0
        #: Epochs of leases that were taken already. One that was given back is not taken again.
        self._seen: frozenset[int] = frozenset()

    def hurry(self) -> None:
        """Look at the next opportunity: somebody rang."""
        self._look_at = 0.0

    def take(self, session: psycopg.Connection[Any], *, asleep: bool = False) -> list[Claimed]:
        """Return what has come since the last look, not begun; nothing where it is too soon."""
        now = time.monotonic()
        if now < self._look_at:
            return []
        self._look_at = now + (ASLEEP_SECONDS if asleep else LOOK_SECONDS)
        rows = session.execute(statement("jobs", "assigned"), {"worker": self._worker}).fetchall()
        found = [Claimed._make(row) for row in rows]
        new = [job for job in found if job.epoch not in self._seen]
        self._seen = frozenset(job.epoch for job in found)
        return new


def begin_leaving(session: psycopg.Connection[Any], worker: uuid.UUID) -> bool:
    """Let nobody lease another job to it; False where nobody would have."""
    found = session.execute(
        "UPDATE workers SET state = 'DRAINING', updated_at = clock_timestamp() "
        "WHERE id = %s AND state IN ('READY', 'BUSY')",
        [worker],
    )
    return found.rowcount > 0


def leave(session: psycopg.Connection[Any], worker: uuid.UUID) -> None:
    """Give back what has come since the last look."""
    session.execute(telling.text("leave_assigned"), {"worker": worker})
