"""The jobs that a worker holds: claimed, not all of them begun. For its threads together."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence

from jobs.runs import Claimed, Run

#: Seconds of work that is claimed ahead, and that is begun ahead, by the mean length of a run. What
#: a claim does not begin takes a statement more, so of quick runs it is to begin all.
AHEAD_SECONDS = 0.5
BEGUN_SECONDS = 0.25
MOST_AHEAD = 1_000
#: Seconds that a run is believed to take before there was one.
FIRST_GUESS = 0.05
#: How much the newest run counts for the mean.
WEIGHT = 0.1


class Held:
    """``ready`` jobs have begun as far as the database knows, and wait for a slot; ``waiting`` ones
    have not. ``taken`` ones have a slot that does not run them yet, ``running`` ones are run."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._ready: deque[tuple[float, Claimed]] = deque()
        self._waiting: deque[tuple[float, Claimed]] = deque()
        #: By the epoch of their lease: a run whose lease was lost may go on beside the next one of
        #: the same job.
        self._taken: dict[int, Claimed] = {}
        self._running: dict[int, Run] = {}
        #: Runs that were given up when their time was over, by the identity of the object: another
        #: run of the same job may have begun.
        self._overdue: dict[int, Run] = {}
        self._mutex = threading.Lock()
        self._something = threading.Condition(self._mutex)
        #: Seconds that a run takes, roughly.
        self._mean = FIRST_GUESS
        self._closed = False
        #: Set when there is room for more.
        self.room = threading.Event()
        self.room.set()

    def __len__(self) -> int:
        with self._mutex:
            return self._number()

    def _number(self) -> int:
        return len(self._ready) + len(self._waiting) + len(self._taken) + len(self._running)

    def ahead(self) -> int:
        """How many jobs to hold beyond those that run."""
        return min(int(self.slots * AHEAD_SECONDS / self._mean), MOST_AHEAD)

    def wanted(self) -> int:
        """How many more to claim now; 0 while there are enough."""
        with self._mutex:
            slots = self.slots - len(self._overdue)
            if not slots:
                return 0
            most = slots + self.ahead()
            held = self._number()
            # Not one by one: a claim of many costs little more than a claim of one.
            return most - held if held <= max(most // 2, slots - 1) else 0

    def to_begin(self) -> int:
        """How many more may begin now: those that will have a slot in a moment."""
        with self._mutex:
            slots = self.slots - len(self._overdue)
            if not slots:
                return 0
            soon = slots + min(int(slots * BEGUN_SECONDS / self._mean), MOST_AHEAD)
            return max(soon - len(self._ready) - len(self._taken) - len(self._running), 0)

    def to_start(self) -> int:
        """How many of a claim may begin at once: not before those that wait already."""
        return max(self.to_begin() - len(self._waiting), 0)

    def put(self, jobs: Sequence[Claimed]) -> None:
        if not jobs:
            # Whoever wakes up and finds nothing asks for more: the fetcher would never rest.
            return
        now = time.monotonic()
        with self._something:
            self._ready.extend((now, job) for job in jobs if job.started)
            self._waiting.extend((now, job) for job in jobs if not job.started)
            self._something.notify(len(self._ready))

    def take_waiting(self, number: int) -> list[Claimed]:
        """Take out jobs that are to begin."""
        with self._mutex:
            return [self._waiting.popleft()[1] for _ in range(min(number, len(self._waiting)))]

    def take_stale(self, seconds: float) -> list[Claimed]:
        """Take out jobs that have waited for so long, behind a run that is longer than those before
        it: another worker may be free. They go back to the head of the queue, so no more are held
        ahead until runs are short again: they would be the same ones."""
        limit = time.monotonic() - seconds
        found = []
        with self._mutex:
            for line in (self._ready, self._waiting):
                while line and line[0][0] < limit:
                    found.append(line.popleft()[1])
            if found:
                self._mean = max(self._mean, seconds)
        return found

    def next(self) -> Claimed | None:
        """Wait for a job and take it; None when the worker ends."""
        with self._something:
            while not self._ready:
                if self._closed:
                    return None
                self.room.set()
                self._something.wait()
            job = self._ready.popleft()[1]
            self._taken[job.epoch] = job
            if len(self._ready) <= self.slots:
                self.room.set()
            return job

    def running(self) -> list[Run]:
        with self._mutex:
            return list(self._running.values())

    def begin(self, run: Run) -> None:
        with self._mutex:
            self._taken.pop(run.job.epoch, None)
            self._running[run.job.epoch] = run

    def overdue(self) -> list[Run]:
        with self._mutex:
            return list(self._overdue.values())

    def is_stuck(self) -> bool:
        """Whether every slot has a thread that was given up."""
        with self._mutex:
            return len(self._overdue) >= self.slots

    def give_up(self, run: Run) -> None:
        """Its time is over, and its thread goes on: it is not ours any more, but its slot is."""
        with self._mutex:
            if self._running.get(run.job.epoch) is run:
                del self._running[run.job.epoch]
                self._overdue[id(run)] = run

    def done(self, run: Run, seconds: float) -> None:
        with self._mutex:
            self._taken.pop(run.job.epoch, None)
            if self._overdue.pop(id(run), None) is None:
                self._running.pop(run.job.epoch, None)
            self._mean += (max(seconds, 1e-6) - self._mean) * WEIGHT
            if not self._ready:
                self.room.set()

    def leases(self) -> list[tuple[uuid.UUID, int]]:
        with self._mutex:
            jobs = [job for _, job in (*self._ready, *self._waiting)]
            jobs += self._taken.values()
            jobs += [run.job for run in self._running.values()]
        return [(job.id, job.epoch) for job in jobs]

    def drop(self, epochs: set[int]) -> None:
        """Forget jobs that have not run and whose leases are not ours any more."""
        with self._mutex:
            self._ready = deque(entry for entry in self._ready if entry[1].epoch not in epochs)
            self._waiting = deque(entry for entry in self._waiting if entry[1].epoch not in epochs)

    def close(self) -> list[Claimed]:
        """No job begins any more; returns those that have not run."""
        with self._something:
            self._closed = True
            left = [job for _, job in (*self._ready, *self._waiting)]
            self._ready.clear()
            self._waiting.clear()
            self._something.notify_all()
        return left
