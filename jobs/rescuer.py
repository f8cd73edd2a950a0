"""Puts back what dead workers held, and enqueues what is due: any worker may do it, one at a time.

It runs on the fetcher's connection between two claims, so it costs an idle process a query now and
then, and a busy one nothing that would be noticed.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from hodei.sql import statement
from jobs import leases
from jobs.events import WorkerEvent
from jobs.services import audit
from jobs.services.workers import MAKING_SECONDS, SILENCE_SECONDS
from jobs.ticker import tick

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

#: Seconds between two looks, at most and at least; and from one rescue to the next. Each look is
#: sooner than at most by up to the share: workers that began together do not ask together for ever.
LOOK_SECONDS, SHORTEST_LOOK = 1.5, 0.02
LOOK_SHARE = 0.1
RESCUE_SECONDS = 5.0
#: Seconds until schedules that are due, and were not dealt with, are looked at again.
TICK_SECONDS = 1.0
#: The number of the lock of whoever rescues.
RESCUE = 0x6A6F6202
#: Seconds that the server must have been there before silent workers are believed to be gone.
UPTIME_SECONDS = SILENCE_SECONDS
#: Seconds that others have, after the database was lost, to come back and renew their leases.
COMEBACK_SECONDS = 3.0
#: Workers, and jobs, of one statement.
MOST = 1_000
#: Queues that are known at once: of more than that the others are seen when these are empty.
MOST_QUEUES = 1_000


class Seen(NamedTuple):
    """The row of the statement ``look``."""

    due_in: float | None
    tick_in: float | None
    has_expired: bool | None
    has_silent: bool
    queues: list[str]


class Rescuer:
    """``look`` does what is due; ``until_due`` says when the next look is."""

    def __init__(
        self, worker: uuid.UUID, rng: Random | None = None, *, at_once: bool = False
    ) -> None:
        self._worker = worker
        self._rng = rng or Random()  # noqa: S311  (to spread load, not to hide anything)
        now = time.monotonic()
        self._look_at = now
        # Workers that were started together do not rescue together; one that soon ends cannot wait.
        self._rescue_at = now if at_once else now + self._rng.uniform(0, RESCUE_SECONDS)
        self._session: psycopg.Connection[Any] | None = None
        #: From when on workers that are silent are believed to be gone.
        self._trusts_at = now
        self._queues: tuple[str, ...] | None = None

    def until_due(self) -> float:
        return max(self._look_at - time.monotonic(), 0.001)

    def take_queues(self) -> tuple[str, ...] | None:
        """The queues that have jobs, as the last look saw it; None where that is not known now."""
        found, self._queues = self._queues, None
        return found

    def look(self, session: psycopg.Connection[Any]) -> None:
        now = time.monotonic()
        if session is not self._session:
            # Whoever lost the database may not be the only one: others are silent since then, too.
            if self._session is not None:
                self._trusts_at = now + SILENCE_SECONDS
                self._rescue_at = max(self._rescue_at, now + COMEBACK_SECONDS)
            self._session = session
            self._look_at = now
        if now < self._look_at:
            return
        asked = {"silence": SILENCE_SECONDS, "queues": MOST_QUEUES}
        row = session.execute(statement("jobs", "look"), asked).fetchone()
        seen = Seen._make(row or (None, None, False, False, []))
        done = False
        pauses = [LOOK_SECONDS * self._rng.uniform(1 - LOOK_SHARE, 1)]
        if seen.tick_in is not None:
            done |= seen.tick_in <= 0 and tick(session) > 0
            pauses.append(seen.tick_in if seen.tick_in > 0 else TICK_SECONDS)
        if seen.due_in is not None:
            promoted = seen.due_in <= 0 and leases.promote(session) > 0
            done |= promoted
            pauses.append(0.0 if promoted else max(seen.due_in, SHORTEST_LOOK))
        if (seen.has_expired or seen.has_silent) and now >= self._rescue_at:
            self._rescue_at = now + RESCUE_SECONDS * self._rng.uniform(0.8, 1.2)
            self._rescue(session)
            done = True
        self._queues = None if done else tuple(seen.queues)
        self._look_at = time.monotonic() + min(pauses)

    def _rescue(self, session: psycopg.Connection[Any]) -> None:
        with session.transaction():
            row = session.execute("SELECT pg_try_advisory_xact_lock(%s, 0)", [RESCUE]).fetchone()
            if row is None or not row[0]:
                return
            gone = self._lose_workers(session) if time.monotonic() >= self._trusts_at else []
            jobs = more = leases.rescue(session, MOST)
            while len(more) == MOST:
                more = leases.rescue(session, MOST)
                jobs = [*jobs, *more]
            if jobs:
                logger.warning("jobs of vanished workers were put back jobs=%s", len(jobs))
            self._record(session, gone, jobs)

    def _lose_workers(self, session: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
        """End the workers that vanished; with that their leases run out."""
        return session.execute(
            statement("jobs", "lose_workers"),
            {
                "silence": SILENCE_SECONDS,
                "making": MAKING_SECONDS,
                "uptime": UPTIME_SECONDS,
                "number": MOST,
            },
        ).fetchall()

    def _record(
        self,
        session: psycopg.Connection[Any],
        gone: Sequence[tuple[Any, ...]],
        jobs: Sequence[tuple[Any, ...]],
    ) -> None:
        put_back = Counter(job[3] for job in jobs)
        lost = []
        for worker, name, state, last_heartbeat in gone:
            logger.warning("a worker vanished worker_id=%s name=%s", worker, name)
            payload = {
                "worker_id": str(worker),
                "name": name,
                "state": state,
                "last_heartbeat": last_heartbeat and last_heartbeat.isoformat(),
                "jobs": put_back[worker],
            }
            lost.append(audit.Record(payload=payload, about=worker))
        if lost:
            audit.write(session, WorkerEvent.LOST, lost)
