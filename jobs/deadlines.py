"""Gives up runs whose time is over and whose executor has not ended them.

A thread cannot be interrupted: the job is written down as TIMEOUT, its lease goes, and whatever the
thread still returns is dropped. Its slot is free when the thread ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from jobs.runs import Outcome, Run, TimedOut

if TYPE_CHECKING:
    from jobs.held import Held

logger = logging.getLogger(__name__)

#: Seconds between two looks: a limit is kept as exactly as that.
TICK = 0.1


class Deadlines:
    """A thread that looks at what runs, and needs no database: that may be what hangs."""

    def __init__(self, held: Held, end: Callable[[Run, Outcome], bool]) -> None:
        self._held = held
        #: Writes an outcome down, unless another one was first.
        self._end = end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs deadlines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            now = time.monotonic()
            for run in self._held.running():
                try:
                    if _is_over(run, now):
                        self._give_up(run)
                except Exception:
                    # What an executor has set is its own; the limits of others must be kept.
                    logger.exception("a limit cannot be kept job_id=%s", run.id)

    def _give_up(self, run: Run) -> None:
        self._held.give_up(run)
        message = "Its time was over, and what it ran in could not be interrupted."
        if self._end(run, TimedOut(message)):
            logger.warning("a run was given up, and still has its slot job_id=%s", run.id)
        run.stop()


def _is_over(run: Run, now: float) -> bool:
    # Read once: its executor may take the limit away at this moment.
    deadline = run.deadline
    return deadline is not None and now >= deadline + run.grace
