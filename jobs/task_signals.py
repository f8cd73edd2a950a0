"""Tells whoever listens that tasks have started and finished: Django's signals, sent by a worker.

``task_finished`` is sent when the end is in the database, and for ends alone: a run that is to be
tried again has not finished its task. What a receiver does, raises or waits for changes no result
and holds up no worker's writing: receivers of it run in a thread of their own.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from django.db import connections

from hodei.compat import HAS_TASKS, TASKS_LOGGER
from jobs.connections import end_left_all, tidy_all
from jobs.states import JOB_FINAL, JobState

if TYPE_CHECKING:
    from django.dispatch import Signal

    from hodei.compat import BaseTaskBackend
    from jobs.callables import Callee
    from jobs.runs import Ended, Run

if HAS_TASKS:
    from hodei.compat import signals, task_backends

logger = logging.getLogger(__name__)
tasks_logger = logging.getLogger(TASKS_LOGGER)

#: Ends that may wait for receivers; then nothing new begins.
MOST_UNTOLD = 5_000


class Telling:
    """What is to be told of one run, when it is known how it ended."""

    __slots__ = ("error", "found", "run", "teller")

    def __init__(self, teller: Teller, run: Run, found: Callee) -> None:
        self.teller = teller
        self.run = run
        self.found = found
        self.error: BaseException | None = None

    def __call__(self, ended: Ended, ours: bool) -> None:  # noqa: FBT001
        if ours and ended.state in JOB_FINAL:
            self.teller.finished(self, ended)


class Teller:
    """``begin`` is for the threads that run tasks, ``finished`` for the one that writes."""

    def __init__(self, *, inline: bool = False) -> None:
        self._inline = inline
        self._queue: queue.SimpleQueue[tuple[Telling, Ended] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        if HAS_TASKS and not self._inline:
            self._thread = threading.Thread(target=self._run, name="jobs signals", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Tell what there is, and end."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def begin(self, run: Run, found: Callee) -> Telling | None:
        """A run begins. Returns what wants to know what it raises."""
        if found.task is None:
            return None
        while self._thread is not None and self._queue.qsize() > MOST_UNTOLD:
            time.sleep(0.01)
        if _is_wanted(signals.task_started, signals.log_task_started, logging.INFO):
            from jobs.task_results import of_run  # noqa: PLC0415  (needs Django's models)

            try:
                send(signals.task_started, _sender(run), of_run(run))
            except BaseException:  # a receiver's sys.exit() must not end a slot
                logger.exception("telling that a task started failed job_id=%s", run.id)
        run.told = telling = Telling(self, run, found)
        return telling

    def finished(self, telling: Telling, ended: Ended) -> None:
        level = logging.INFO if ended.state is JobState.SUCCEEDED else logging.ERROR
        if not _is_wanted(signals.task_finished, signals.log_task_finished, level):
            return
        if self._thread is None:
            _tell_finished(telling, ended)
        else:
            self._queue.put((telling, ended))

    def _run(self) -> None:
        while (one := self._queue.get()) is not None:
            _tell_finished(*one)
            end_left_all()
            tidy_all()
        connections.close_all()


def _tell_finished(telling: Telling, ended: Ended) -> None:
    from jobs.task_results import of_ended  # noqa: PLC0415

    run = telling.run
    try:
        result = of_ended(run, ended)
        if telling.error is None or ended.state is JobState.SUCCEEDED:
            send(signals.task_finished, _sender(run), result)
            return
        # Django's receiver logs sys.exc_info().
        try:
            raise telling.error  # noqa: TRY301
        except BaseException:  # noqa: BLE001
            send(signals.task_finished, _sender(run), result)
    except BaseException:  # nor this thread
        logger.exception("telling that a task finished failed job_id=%s", run.id)
    finally:
        telling.error = None


def send(signal: Signal, sender: type[BaseTaskBackend], result: Any) -> None:
    """What a receiver raises is logged, and goes no further."""
    try:
        signal.send_robust(sender, task_result=result)
    except Exception:
        # Django names the receiver when it logs, and some callables have no name.
        logger.exception("a receiver failed job_id=%s", result.id)


def _sender(run: Run) -> type[BaseTaskBackend]:
    return type(task_backends[run.spec["python"]["backend"]])


def _is_wanted(signal: Signal, log: Any, level: int) -> bool:
    """Whether anybody listens but Django's own receiver, which logs; or that would log."""
    return tasks_logger.isEnabledFor(level) or any(
        (receiver() if isinstance(receiver, weakref.ReferenceType) else receiver) is not log
        for _, receiver, *_ in signal.receivers
    )
