"""Runs jobs: claims many at once, runs each in a slot, and writes down many at once how they ended.

Threads of a worker process: the fetcher (``run``'s own), which claims; the finisher, which writes
and renews leases; the one that watches deadlines; and one for each slot. What they share is in
``held``.

Nothing depends on a worker's end: its leases run out, and any other puts its jobs back.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from django.db import connections

from hodei.polling import MOMENT, Bell, Pace
from hodei.sessions import connect, is_pooled
from hodei.sql import statement
from jobs import assignments, leases, registration, retry
from jobs.connections import tidy_after
from jobs.deadlines import Deadlines
from jobs.executors import Executor, SpecInvalid
from jobs.failures import log_failure
from jobs.finisher import RECONNECTS, Finisher
from jobs.held import Held
from jobs.presence import Presence
from jobs.registry import close_all, executor_of, open_all
from jobs.rescuer import MOST_QUEUES, Rescuer
from jobs.runs import Cancelled, Claimed, Failed, Outcome, Run, failure_of
from jobs.states import FailureKind
from jobs.wakeup import CHANNEL, GATE

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

#: Jobs of one claim, at most.
MOST_CLAIMED = 500
#: Seconds between two looks for work: soon after there was some, and at most so long.
SHORTEST_POLL, LONGEST_POLL = 0.02, 1.5
#: Seconds after which a claim looks at the whole queue again, and not only beyond the last one.
WHOLE_QUEUE_SECONDS = 1.0
#: Seconds after which a sleeper tries again to close the gates that another sleeper has closed.
GATES_SECONDS = 5.0
#: Queues whose gates it closes: of others it hears when it looks again. Each takes a place in the
#: server's table of locks.
MOST_GATES = 64
#: Share of a lease that a job may wait in a worker without having begun.
STALE_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a worker is to do."""

    using: str = "default"
    #: Names of queues; none is every queue that has jobs.
    queues: tuple[str, ...] = ()
    #: Runs at once.
    concurrency: int = 10
    #: Jobs of one claim, at most.
    batch: int = MOST_CLAIMED
    #: End when there is nothing to claim, and nothing runs.
    drain: bool = False
    #: End after so many runs; None is no limit.
    max_jobs: int | None = None
    lease_seconds: float = leases.LEASE_SECONDS
    longest_poll: float = LONGEST_POLL
    #: Who it was made to be; None registers it as one of this project's own.
    identity: registration.Identity | None = None


class Worker:
    """One worker process. ``run`` returns when it is told to stop, or has drained."""

    def __init__(self, options: WorkerOptions, *, stop: threading.Event | None = None) -> None:
        self.id = options.identity.worker_id if options.identity else uuid.uuid4()
        self.options = options
        #: Set to end it: what runs is finished first.
        self.stop = stop or threading.Event()
        #: Runs that have ended.
        self.runs = 0
        self._began = 0
        self._presence = Presence(
            options.using,
            self.id,
            {"queues": list(options.queues), "concurrency": options.concurrency},
        )
        self._held = Held(options.concurrency)
        self._rng = Random()  # noqa: S311  (to spread load, not to hide anything)
        self._pace = Pace(shortest=SHORTEST_POLL, longest=options.longest_poll)
        self._finisher = Finisher(
            options.using,
            self._held,
            self.id,
            lease_seconds=options.lease_seconds,
            ended=self.stop.set,
        )
        self._deadlines = Deadlines(self._held, self._end_run)
        self._rescuer = Rescuer(self.id, at_once=options.drain)
        self._assignments = assignments.Assignments(self.id)
        self._marks: dict[str, leases.Mark] = {}
        self._whole_at = 0.0
        self._queues: tuple[str, ...] = ()
        #: Queues by name, with the numbers of their gates.
        self._gates: dict[str, int] = {}
        self._gates_at = 0.0
        #: Whether the last claim looked at the whole queue, and found nothing.
        self._empty = False
        self._failures = 0
        self._mutex = threading.Lock()
        self._opened: list[Executor] = []
        self._bell: Bell | None = None

    def run(self) -> None:
        """Work until ``stop`` is set. A database that goes away is waited for; the first connection
        is not, and its error passes, as does a refusal of the register."""
        # Before anything else: whoever is refused must not end the worker that has this identity.
        self._presence.enter(self.options.identity)
        slots = [
            threading.Thread(target=self._slot, name=f"jobs slot {number}", daemon=True)
            for number in range(self.options.concurrency)
        ]
        try:
            open_all(self.options.concurrency, self._opened)
            self._finisher.start()
            self._deadlines.start()
            for slot in slots:
                slot.start()
            self._fetch_until_stopped()
        finally:
            self._end(slots)

    def stop_now(self) -> None:
        """Ask what runs to stop, too. It is written down as lost, and others run it again."""
        self.stop.set()
        for run in self._held.running():
            run.stop(lost=True)

    def _end(self, slots: Sequence[threading.Thread]) -> None:
        self._presence.begin_leaving()
        for job in self._held.close():
            self._finisher.add(retry.returned(job))
        self._join(slots)
        self._deadlines.stop()
        self._finisher.stop()
        close_all(self._opened)
        self._presence.leave()

    def _join(self, slots: Sequence[threading.Thread]) -> None:
        """Wait for what runs, but not for what was given up: that may never end."""
        while alive := [slot for slot in slots if slot.is_alive()]:
            given_up = self._held.overdue()
            if len(alive) <= len(given_up):
                logger.warning("worker ends although runs go on runs=%s", len(given_up))
                return
            alive[0].join(0.1)

    # --- the fetcher ---------------------------------------------------------------------------

    def _fetch_until_stopped(self) -> None:
        from psycopg import Error  # noqa: PLC0415

        while not self.stop.is_set():
            try:
                with closing(self._connect("hodei jobs fetcher")) as session:
                    self._bell = Bell(
                        session, channel=CHANNEL, gate=GATE, listens=not is_pooled(session)
                    )
                    self._fetch(session, self._bell)
            except Error as error:
                self._failures += 1
                pause = RECONNECTS.pause(self._failures, self._rng)
                logger.warning(
                    "worker lost its database again_in=%.1f error=%s",
                    pause,
                    " ".join(str(error).split()),
                )
                self.stop.wait(pause)
            else:
                return

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return connect(self.options.using, name, patience=leases.PATIENCE_SECONDS)

    def _fetch(self, session: psycopg.Connection[Any], bell: Bell) -> None:
        while not self.stop.is_set():
            self._rescuer.look(session)
            self._failures = 0
            asleep = bell.listens and not len(self._held)
            self._held.put(self._assignments.take(session, asleep=asleep))
            moved = self._begin_waiting(session)
            self._return_stale()
            # Looked at before the claim: what ends now may put its job back into the queue.
            quiet = not len(self._held) and self._finisher.is_idle()
            moved += self._claim(session)
            if moved:
                self._pace.found()
                bell.open_gates()
                self._gates_at = 0.0
                if not self._held.wanted():
                    self._held.room.clear()
                self._held.room.wait(0.05)
            elif quiet and self._is_done():
                return
            elif len(self._held) or not quiet:
                self._wait_beside_runs(session, bell)
            else:
                self._rest(session, bell, self._pause(), self.stop.is_set)

    def _claim(self, session: psycopg.Connection[Any]) -> int:
        self._empty = False
        wanted = min(self._held.wanted(), self.options.batch)
        if self.options.max_jobs is not None:
            wanted = min(wanted, self.options.max_jobs - self._began)
        if wanted <= 0 or not self._finisher.keeps_up.is_set():
            return 0
        now = time.monotonic()
        whole = now >= self._whole_at or not self._marks
        if whole:
            self._whole_at = now + WHOLE_QUEUE_SECONDS
            self._marks.clear()
            self._queues = self._queues_with_jobs(session)
        found = self._ask(session, wanted, self._marks)
        if not found and not whole:
            # Nothing beyond the last claim: what was enqueued at another priority is before it.
            self._marks.clear()
            self._whole_at = now + WHOLE_QUEUE_SECONDS
            found = self._ask(session, wanted, self._marks)
        for job in found:
            self._marks[job.queue] = leases.Mark(job.priority, job.place)
        self._empty = not found
        self._began += len(found)
        self._held.put(found)
        return len(found)

    def _ask(
        self, session: psycopg.Connection[Any], wanted: int, marks: dict[str, leases.Mark]
    ) -> list[Claimed]:
        if not self._queues:
            return []
        return leases.claim(
            session,
            self.id,
            self._queues,
            wanted,
            starting=self._held.to_start(),
            seconds=self.options.lease_seconds,
            marks=marks or None,
        )

    def _queues_with_jobs(self, session: psycopg.Connection[Any]) -> tuple[str, ...]:
        """Of those to take jobs from; maybe others, too, where they are named."""
        found = self._rescuer.take_queues()
        if self.options.queues:
            given = self.options.queues
            if found is None or len(found) == MOST_QUEUES:
                return given
            return tuple(name for name in given if name in found)
        if found is None:
            rows = session.execute(statement("jobs", "queues"), {"most": MOST_QUEUES}).fetchall()
            found = tuple(row[0] for row in rows)
        return found

    def _begin_waiting(self, session: psycopg.Connection[Any]) -> int:
        jobs = self._held.take_waiting(self._held.to_begin())
        if not jobs:
            return 0
        started = leases.start(session, jobs)
        self._held.put(started)
        self._began -= sum(job.queued for job in jobs) - sum(job.queued for job in started)
        return len(jobs)

    def _return_stale(self) -> None:
        stale = self._held.take_stale(self.options.lease_seconds * STALE_SHARE)
        self._began -= sum(job.queued for job in stale)
        for job in stale:
            self._finisher.add(retry.returned(job))

    def _is_done(self) -> bool:
        if self.options.max_jobs is not None and self._began >= self.options.max_jobs:
            return True
        # With no slot left nothing is known of the queue, and nothing can be done about it.
        return self.options.drain and (self._empty or self._held.is_stuck())

    def _pause(self) -> float:
        """How long to wait now, having found nothing."""
        return min(self._pace.nothing(), self._rescuer.until_due())

    def _wait_beside_runs(self, session: psycopg.Connection[Any], bell: Bell) -> None:
        """Something runs: a slot that becomes free is as good a reason to look as a ring."""
        room, pause = self._held.room, self._pause()
        room.clear()
        ends = self.options.drain or self.options.max_jobs is not None
        # Soon after there was work there may be more: who sleeps has everybody ring.
        if pause >= MOMENT and bell.listens and not ends and self._held.wanted():
            self._rest(session, bell, pause, lambda: room.is_set() or self.stop.is_set())
            return
        end = time.monotonic() + pause
        while not self.stop.is_set() and (left := end - time.monotonic()) > 0:
            if room.wait(min(left, MOMENT)):
                return

    def _rest(
        self,
        session: psycopg.Connection[Any],
        bell: Bell,
        seconds: float,
        until: Callable[[], bool],
    ) -> None:
        """Nothing to do: sleep until somebody rings, or it is time to look again."""
        if self._close_gates(session, bell):
            # Whoever came just before them found the gates open, and rang nobody.
            self._assignments.hurry()
            if self._claim(session):
                self._pace.found()
                bell.open_gates()
            return
        if bell.wait(seconds, until=until):
            self._marks.clear()
            self._assignments.hurry()
            # Who has closed them may be the one that works now.
            self._gates_at = 0.0

    def _close_gates(self, session: psycopg.Connection[Any], bell: Bell) -> bool:
        now = time.monotonic()
        names = self.options.queues or ("default", *self._queues)
        new = [name for name in names if name not in self._gates]
        new = new[: MOST_GATES - len(self._gates)]
        if not bell.listens or (now < self._gates_at and not new):
            return False
        self._gates_at = now + GATES_SECONDS
        if new:
            rows = session.execute(
                "SELECT name, hashtext(name) FROM unnest(%s::text[]) AS q (name)", [new]
            ).fetchall()
            self._gates.update(rows)
        return bell.close_gates(list(self._gates.values()))

    # --- the slots -----------------------------------------------------------------------------

    def _slot(self) -> None:
        try:
            while (job := self._held.next()) is not None:
                self._run_one(job)
        finally:
            connections.close_all()

    def _run_one(self, job: Claimed) -> None:
        run = Run(job, self.id, self.options.using)
        began = time.monotonic()
        try:
            _, executor = executor_of(run.spec)
            limit = executor.default_timeout if job.timeout is None else job.timeout
            run.deadline = None if limit is None else began + limit
            self._held.begin(run)
            if self._finisher.current is not None:
                self._finisher.current.runs(run.id)
            outcome: Outcome = executor.run(run)
        except SpecInvalid as error:
            outcome = Failed(FailureKind.CONFIGURATION_ERROR, str(error))
        except BaseException as error:  # noqa: BLE001  (whatever a job raises is its outcome)
            outcome = failure_of(error)
        tidy_after(failed=isinstance(outcome, Failed))
        # Until it is added somebody runs: a drain must not take this moment for the end.
        self._end_run(run, outcome)
        self._held.done(run, time.monotonic() - began)
        if self._finisher.current is not None:
            self._finisher.current.runs(None)
        with self._mutex:
            self.runs += 1

    def _end_run(self, run: Run, outcome: Outcome) -> bool:
        """Have it written down, unless its lease is lost or it has ended already."""
        if run.lost or not run.settle():
            return False
        try:
            if run.cancelled and not isinstance(outcome, Cancelled):
                outcome = Cancelled(result=getattr(outcome, "result", None))
            backoff = run.backoff or retry.DEFAULT_BACKOFF
            ended = retry.end(run.job, outcome, rng=self._rng, backoff=backoff)
        except BaseException as error:
            # It may be anybody's executor, and its pauses. What cannot be written must not reach
            # who writes, and nothing of it may end a slot.
            logger.exception("an executor returned what it may not job_id=%s", run.id)
            ended = retry.end(run.job, failure_of(error), rng=self._rng)
        self._finisher.add(ended, run.told and partial(run.told, ended))
        log_failure(run, ended)
        return True
