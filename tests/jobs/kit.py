"""A worker at work while a test looks on."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from jobs.worker import Worker
from tests.jobs import executors
from tests.working import at_work


def running(worker: Worker) -> AbstractContextManager[threading.Thread]:
    """The worker at work in a thread, until the block ends."""

    def stop() -> None:
        executors.go_on.set()
        worker.stop.set()

    return at_work(worker.run, stop)
