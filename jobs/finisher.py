"""Writes down how runs ended, many at once: when enough have, or a few milliseconds have passed.

On a connection of its own, in a thread of its own, which also renews the leases: a claim that takes
long must cost neither a result nor a lease.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING, Any

from hodei.backoff import Backoff
from hodei.sessions import connect
from hodei.sql import statement
from jobs import leases
from jobs.current import Current
from jobs.runs import Ended

if TYPE_CHECKING:
    import psycopg

    from jobs.held import Held

logger = logging.getLogger(__name__)

#: Results are written when there are so many, or after so many seconds.
MOST = 500
SECONDS = 0.005
#: Results that may wait to be written; then nothing new is begun.
MOST_UNWRITTEN = 5_000
#: A database that has come back is found as soon as work is.
RECONNECTS = Backoff(base=0.2, cap=1.5)
HEARTBEAT_SECONDS = 10.0

#: Called after a result was written, with whether it was still ours.
Told = Callable[[bool], None]


class Finisher:
    """``add`` is for every thread; everything else is its own thread's."""

    def __init__(
        self,
        using: str,
        held: Held,
        worker: uuid.UUID,
        *,
        lease_seconds: float,
        ended: Callable[[], None],
    ) -> None:
        self._using = using
        self._held = held
        self._worker = worker
        self._lease_seconds = lease_seconds
        #: Called when the worker's row says that it is to end.
        self._ended = ended
        #: What it runs, where that is one at a time.
        self.current: Current | None = None
        self._queue: deque[tuple[Ended, Told | None]] = deque()
        self._wake = threading.Event()
        if held.slots == 1:
            self.current = Current(worker, self._wake)
        self._stop = threading.Event()
        self._rng = Random()  # noqa: S311  (to spread load, not to hide anything)
        self._session: psycopg.Connection[Any] | None = None
        self._renew_at = time.monotonic() + lease_seconds / leases.RENEWALS
        self._beat_at = 0.0
        self._thread = threading.Thread(target=self._run, name="jobs finisher", daemon=True)
        #: Whether something was taken out of the queue and is not written yet.
        self._writing = False
        #: Results that were written.
        self.written = 0
        #: Whether the rate of writing keeps up.
        self.keeps_up = threading.Event()
        self.keeps_up.set()

    def start(self) -> None:
        self._thread.start()

    def is_idle(self) -> bool:
        """Whether everything that was added is written."""
        return not self._queue and not self._writing

    def add(self, ended: Ended, told: Told | None = None) -> None:
        self._queue.append((ended, told))
        waiting = len(self._queue)
        if waiting >= MOST or waiting == 1:
            self._wake.set()
        if waiting >= MOST_UNWRITTEN:
            self.keeps_up.clear()

    def stop(self) -> None:
        """Write what there is, and end."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        failures = 0
        while True:
            batch: list[tuple[Ended, Told | None]] = []
            try:
                self._session = self._session or connect(
                    self._using, "hodei jobs finisher", patience=leases.PATIENCE_SECONDS
                )
                self._keep(self._session)
                self._writing = True
                batch = self._take()
                self._write(self._session, batch)
                self._writing = False
                failures = 0
                if batch and not self._queue:
                    # The fetcher may wait for just that: to sleep, or to end.
                    self._held.room.set()
            except Exception as error:  # noqa: BLE001  (without this thread all results are lost)
                # What was not written is written again: its lease tells whether it was.
                self._queue.extendleft(reversed(batch))
                self._writing = False
                failures += 1
                self._lost(error, failures)
                if self._stop.is_set() and failures > 5:
                    break
            if self._stop.is_set() and not self._queue:
                break
            if not self._queue:
                self._wake.clear()
                self._wake.wait(self._until_next())
            elif len(self._queue) < MOST and not self._stop.is_set():
                self._stop.wait(SECONDS)
        if self._session is not None:
            self._session.close()

    def _take(self) -> list[tuple[Ended, Told | None]]:
        found: list[tuple[Ended, Told | None]] = []
        while self._queue and len(found) < MOST:
            found.append(self._queue.popleft())
        return found

    def _write(
        self, session: psycopg.Connection[Any], batch: Sequence[tuple[Ended, Told | None]]
    ) -> None:
        if not batch:
            return
        ours = leases.finish(session, [ended for ended, _ in batch])
        self.written += len(ours)
        if len(self._queue) < MOST_UNWRITTEN:
            self.keeps_up.set()
        for ended, told in batch:
            if ended.id not in ours:
                logger.warning(
                    "a run ended after its lease was lost job_id=%s epoch=%s",
                    ended.id,
                    ended.epoch,
                )
            if told is not None:
                try:
                    told(ended.id in ours)
                except Exception:
                    logger.exception("telling of a finished job failed job_id=%s", ended.id)

    def _keep(self, session: psycopg.Connection[Any]) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            self._renew_at = now + self._lease_seconds / leases.RENEWALS
            self._renew(session)
        if now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_SECONDS
            row = session.execute(
                statement("jobs", "heartbeat"), {"worker": self._worker}
            ).fetchone()
            if row is None or row[0] in {"DRAINING", "TERMINATING"}:
                self._ended()
        if self.current is not None:
            self.current.write(session)

    def _renew(self, session: psycopg.Connection[Any]) -> None:
        held = self._held.leases()
        if not held:
            return
        kept = leases.renew(session, held, seconds=self._lease_seconds)
        # Of two leases of one job the newer one is that which may be left.
        newest = dict(sorted(held, key=itemgetter(1)))
        lost = {epoch for job, epoch in held if job not in kept or epoch < newest[job]}
        # One that has ended meanwhile is not lost: it is not held any more.
        self._held.drop(lost)
        for run in self._held.running():
            if run.job.epoch in lost:
                run.stop(lost=True)
            elif kept.get(run.id):
                run.stop(cancelled=True)

    def look_for_cancels(self) -> None:
        """Renew now: somebody may have asked for a run to be stopped."""
        self._renew_at = 0.0
        self._wake.set()

    def _until_next(self) -> float:
        seconds = min(self._renew_at, self._beat_at) - time.monotonic()
        if self.current is not None:
            seconds = min(seconds, self.current.until_due())
        return max(seconds, 0.001)

    def _lost(self, error: Exception, failures: int) -> None:
        from psycopg import Error  # noqa: PLC0415

        if self._session is not None:
            self._session.close()
            self._session = None
        # Leases have not been renewed for who knows how long, and those that are left are short.
        self._renew_at = 0.0
        pause = RECONNECTS.pause(failures, self._rng)
        told = logger.warning if isinstance(error, Error) else logger.exception
        told("worker lost its database again_in=%.1f error=%s", pause, " ".join(str(error).split()))
        self._stop.wait(pause)
