"""Runs Python functions: tasks of ``django.tasks``, and others that JOBS_TASKS_ALLOWED lists.

    {"python": {"task": "shop.tasks.send", "args": [7], "kwargs": {"copies": 2}}}

A sync function runs in the thread of its slot, which nobody can interrupt: when its time is over
the worker writes TIMEOUT down, and the slot is free when the thread ends. An async one runs in the
event loop of the worker and is cancelled, when its time is over and when its job is. With the
isolation ``process`` either runs in a process of its own, which is killed then, with all that it
has started.

A plain function says ``"takes_context": true`` and ``"isolation": "process"`` in the spec; of a
task the decorator says it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections

from hodei.compat import normalize_json
from hodei.values import shown
from jobs.callables import PROCESS, THREAD, Callee, TaskNotFound, callee
from jobs.connections import end_left, tidy, tidy_all
from jobs.context import JobContext
from jobs.exceptions import DoNotRetry, Retry, Snooze, as_seconds
from jobs.executors import SpecInvalid
from jobs.executors.isolated import run_isolated
from jobs.executors.loop import LoopThread
from jobs.runs import (
    Cancelled,
    Failed,
    Outcome,
    Run,
    Snoozed,
    Succeeded,
    TimedOut,
    after,
    class_path,
    failure_of,
)
from jobs.states import FailureKind
from jobs.task_signals import Teller

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

#: It did something, and what it did is gone.
LEFT_OPEN = (
    "It returned and left a transaction open, so what it wrote there is undone. What it begins it "
    "is to end: transaction.atomic() by its block, set_autocommit(False) by a commit."
)

_KEYS: Mapping[str, tuple[type, str]] = {
    "task": (str, "a dotted path"),
    "args": (list, "a list"),
    "kwargs": (dict, "a dict"),
    "takes_context": (bool, "True or False"),
    "isolation": (str, f"{THREAD!r} or {PROCESS!r}"),
    "backend": (str, "a name in TASKS"),
}


class PythonExecutor:
    """``inline`` is for tests: everything in the calling thread, on its connections."""

    default_timeout: float | None = None

    def __init__(self, *, inline: bool = False) -> None:
        self._inline = inline
        self._loop = LoopThread()
        self._teller = Teller(inline=inline)
        self._local = threading.local()

    def validate(self, spec: Any) -> None:
        """Imports the task, which whoever enqueues it by its function has done already."""
        if not isinstance(spec, Mapping):
            raise SpecInvalid(f"spec['python'] is {shown(spec)}; it is a dict.")
        if "task" not in spec:
            raise SpecInvalid(
                f"spec['python'] is {shown(spec)}; it has the dotted path of a 'task'."
            )
        for key, value in spec.items():
            if key not in _KEYS:
                known = ", ".join(map(repr, _KEYS))
                raise SpecInvalid(f"spec['python'] has {shown(key)}; known are {known}.")
            kind, words = _KEYS[key]
            if not isinstance(value, kind):
                raise SpecInvalid(f"spec['python'][{key!r}] is {shown(value)}; it is {words}.")
        if spec.get("isolation", THREAD) not in {THREAD, PROCESS}:
            raise SpecInvalid(
                f"spec['python']['isolation'] is {shown(spec['isolation'])}; it is {THREAD!r} or "
                f"{PROCESS!r}."
            )
        try:
            found = callee(spec["task"])
        except TaskNotFound as error:
            raise SpecInvalid(str(error)) from error
        if found.task is not None and ("takes_context" in spec or "isolation" in spec):
            raise SpecInvalid(
                f"task is {found.path!r}, whose decorator says takes_context and isolation; "
                "leave them out of spec['python']."
            )

    def open(self, slots: int) -> None:
        self._teller.open()

    def run(self, run: Run) -> Outcome:
        given = run.spec["python"]
        try:
            found = callee(given["task"])
        except TaskNotFound as error:
            # A worker of the old version meets a task of the new one: soon there is another worker.
            return Failed(FailureKind.CONFIGURATION_ERROR, str(error), retryable=True)
        run.backoff = found.backoff
        telling = self._teller.begin(run, found) if "backend" in given else None
        outcome, raised = self._run(found, given, run)
        if telling is not None:
            telling.error = raised
        return outcome

    def close(self) -> None:
        self._teller.close()
        self._loop.close()

    def _run(
        self, found: Callee, given: Mapping[str, Any], run: Run
    ) -> tuple[Outcome, BaseException | None]:
        if given.get("isolation", found.isolation) == PROCESS and not self._inline:
            return run_isolated(run), None
        if found.is_async:
            if self._inline:
                return async_to_sync(call_async)(found, given, run)
            return self._loop.run(call_async(found, given, run))
        run.grace = 0.0
        process = os.getpid()
        outcome, raised = call(found, given, run)
        if os.getpid() != process:
            # A fork that comes back here has what the worker holds, and must run none of it.
            os._exit(raised is not None)
        if not self._inline and self._tidy():
            outcome = left_open(outcome, found)
        return outcome, raised

    def _tidy(self) -> bool:
        """Connections stay open from task to task, unless one is broken or not as it was. Returns
        whether the task has left a transaction in which it had written."""
        try:
            known: Sequence[BaseDatabaseWrapper] = self._local.connections
        except AttributeError:
            known = self._local.connections = connections.all()
        has_left = False
        for connection in known:
            if connection.connection is not None:
                has_left |= end_left(connection)
                tidy(connection)
        return has_left


def call(found: Callee, given: Mapping[str, Any], run: Run) -> tuple[Outcome, BaseException | None]:
    """Call a sync function; returns what came of it, and what it raised."""
    context = None
    try:
        args = given.get("args", ())
        if found.takes_context or given.get("takes_context"):
            context = JobContext(run)
            args = (context, *args)
        value = found.function(*args, **given.get("kwargs", {}))
    except BaseException as error:  # noqa: BLE001  (sys.exit() in a task must not end a slot)
        return _failed(error, found, run, context), error
    return _succeeded(value, context), None


async def call_async(
    found: Callee, given: Mapping[str, Any], run: Run
) -> tuple[Outcome, BaseException | None]:
    """Await an async function, which is cancelled at its deadline and when the run is to stop."""
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    context = None
    # Both clocks are time.monotonic.
    limit = asyncio.timeout_at(run.deadline)
    try:
        if this is not None:
            run.on_stop(partial(loop.call_soon_threadsafe, this.cancel))
        args = given.get("args", ())
        if found.takes_context or given.get("takes_context"):
            context = JobContext(run)
            args = (context, *args)
        async with limit:
            value = await found.function(*args, **given.get("kwargs", {}))
    except BaseException as error:  # noqa: BLE001
        if limit.expired() and isinstance(error, TimeoutError):
            return TimedOut(f"Its time was over{after(run)}."), error
        if isinstance(error, asyncio.CancelledError) and run.stopping.is_set():
            return Cancelled(), error
        await sync_to_async(tidy_all)()
        return _failed(error, found, run, context), error
    return _succeeded(value, context), None


def left_open(outcome: Outcome, found: Callee) -> Outcome:
    """What came of a function that has left a transaction open in which it had written."""
    if not isinstance(outcome, Succeeded):
        return outcome
    retryable = None if found.retry_on is None else False
    return Failed(FailureKind.UNKNOWN, LEFT_OPEN, retryable=retryable)


def _succeeded(value: Any, context: JobContext | None) -> Outcome:
    if context is not None and context.completed:
        return Succeeded(context.result)
    if value is None:
        return Succeeded()
    try:
        return Succeeded(normalize_json(value))
    except Exception as error:  # noqa: BLE001  (it may be any object)
        # It did what it should; to run it again would only do that once more.
        return Failed(
            FailureKind.VALIDATION_ERROR,
            f"What it returned cannot be JSON: {error}.",
            class_path(type(error)),
            failure_of(error).traceback,
            retryable=False,
        )


def _failed(error: BaseException, found: Callee, run: Run, context: JobContext | None) -> Outcome:
    if context is not None and context.completed:
        logger.error("a task raised after it had completed job_id=%s", run.id, exc_info=error)
        return Succeeded(context.result)
    match error:
        case Snooze():
            return _snoozed(error)
        case Retry():
            return failure_of(error, retryable=True, retry_in=_pause_of(error))
        case DoNotRetry():
            return failure_of(error, retryable=False)
    if found.retry_on is None:
        return failure_of(error)
    return failure_of(error, retryable=isinstance(error, found.retry_on))


# A subclass may have its own idea of how long: it is looked at once more.
def _snoozed(error: Snooze) -> Outcome:
    try:
        return Snoozed(as_seconds(error.seconds))
    except (TypeError, ValueError, OverflowError) as wrong:
        return failure_of(wrong)


def _pause_of(error: Retry) -> float | None:
    try:
        return None if error.seconds is None else as_seconds(error.seconds)
    except (TypeError, ValueError, OverflowError):
        return None
