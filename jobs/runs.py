"""A job as a worker holds it, and what can become of a run. Values; no database."""

from __future__ import annotations

import json
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from hodei.backoff import Backoff
from jobs.states import FailureKind, JobState


class Claimed(NamedTuple):
    """One row of the statement ``claim``: a job, and the lease under which it is held."""

    id: uuid.UUID
    epoch: int
    #: JSON text, parsed by ``Run``.
    spec: str
    #: Runs begun, this one among them if ``started``.
    attempts: int
    max_attempts: int
    #: Seconds; None is the executor's default.
    timeout: float | None
    name: str
    correlation_id: str | None
    trace_parent: str | None
    created_at: datetime
    started_at: datetime | None
    lost_leases: int
    #: JSON text.
    metadata: str
    started: bool
    priority: int
    #: Its place in the queue, which grows with each job.
    place: int
    queue: str

    @property
    def queued(self) -> bool:
        """Whether it was claimed: what a saga has leased to a worker is in no queue."""
        return self.place > 0


@dataclass
class Run:
    """One run of a job, as its executor sees it. Made and ended by the worker.

    The worker asks a run to stop by ``stop``: because somebody cancelled it, because its lease was
    lost, or because the worker is to end at once. An executor that can be interrupted says how by
    ``on_stop``; one that cannot looks at ``stopping`` now and then.
    """

    job: Claimed
    worker_id: uuid.UUID
    #: The database that the worker works on.
    using: str = "default"
    #: By ``time.monotonic``; None is no limit.
    deadline: float | None = None
    #: Seconds that the executor may take to end the run when its time is up. After them the worker
    #: writes TIMEOUT down without it; an executor that cannot interrupt its runs says 0.
    grace: float = 5.0
    #: Pauses between runs where the job has a say in it; None is the worker's.
    backoff: Backoff | None = None
    #: Called when its end was written down, with that and with whether it was still ours.
    told: Callable[[Ended, bool], None] | None = None
    #: Whether the lease is gone: whatever comes of the run is not ours to write down.
    lost: bool = False
    #: Whether somebody asked for it to be cancelled.
    cancelled: bool = False
    _callbacks: list[Callable[[], object]] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _settled: bool = False
    _stopped: bool = False
    #: Made for who asks: most runs end before anybody does.
    _stopping: threading.Event | None = None

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        found = json.loads(self.job.spec)
        return found if isinstance(found, dict) else {}

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        found = json.loads(self.job.metadata)
        return found if isinstance(found, dict) else {}

    @property
    def id(self) -> uuid.UUID:
        return self.job.id

    @property
    def stopping(self) -> threading.Event:
        """Set when the run is to stop."""
        with self._mutex:
            if self._stopping is None:
                self._stopping = threading.Event()
                if self._stopped:
                    self._stopping.set()
            return self._stopping

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Call it when the run is to stop, from another thread; at once if that was before."""
        with self._mutex:
            if not self._stopped:
                self._callbacks.append(callback)
                return
        callback()

    def settle(self) -> bool:
        """Whether its end is the caller's to write down: it is for who asks first."""
        with self._mutex:
            first, self._settled = not self._settled, True
            return first

    def stop(self, *, cancelled: bool = False, lost: bool = False) -> None:
        """Ask it to stop. The reasons add up; the callbacks are called once."""
        with self._mutex:
            self.cancelled = self.cancelled or cancelled
            self.lost = self.lost or lost
            if self._stopped:
                return
            self._stopped = True
            if self._stopping is not None:
                self._stopping.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            # One that fails must not keep the others from being called, nor end who calls them.
            with suppress(BaseException):
                callback()


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It did what it should. ``result`` is anything that JSON can hold."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not."""

    kind: FailureKind
    message: str
    #: Dotted path of the exception's class, and its traceback, where there was one.
    error_class: str | None = None
    traceback: str | None = None
    result: Any = None
    #: Whether another run may help; None is by the kind.
    retryable: bool | None = None
    #: Seconds until the next run, where the job itself has said; None is by the policy.
    retry_in: float | None = None


def failure_of(
    error: BaseException, *, retryable: bool | None = None, retry_in: float | None = None
) -> Failed:
    """An exception as a failure, whatever it is: a class of others may raise anything, also where
    it is only to be shown."""
    kind = type(error)
    words = _shown(lambda: str(error))
    if words is None:
        words = "(it cannot be shown)"
    return Failed(
        FailureKind.UNKNOWN,
        f"{kind.__name__}: {words}" if words else kind.__name__,
        class_path(kind),
        _shown(lambda: "".join(traceback.format_exception(error)))
        or _shown(lambda: "".join(traceback.format_tb(error.__traceback__))),
        retryable=retryable,
        retry_in=retry_in,
    )


def _shown(text: Callable[[], str]) -> str | None:
    try:
        return text()
    except BaseException:  # noqa: BLE001  (sys.exit() there must not end who asks)
        return None


def class_path(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


@dataclass(frozen=True, slots=True)
class TimedOut:
    """It was not done in time, and was stopped or left to itself."""

    message: str
    result: Any = None
    #: Whether another run may help; None is by the kind.
    retryable: bool | None = None


def after(run: Run) -> str:
    """How long a run had, for who tells that its time was over; nothing where its job does not say:
    it is its executor's to know then."""
    return "" if run.job.timeout is None else f" after {run.job.timeout:g} s"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was stopped because somebody asked for it."""

    message: str = "Cancelled while it ran."
    result: Any = None


@dataclass(frozen=True, slots=True)
class Snoozed:
    """It wants to run again later, and has spent no attempt."""

    seconds: float


Outcome = Succeeded | Failed | TimedOut | Cancelled | Snoozed


class Ended(NamedTuple):
    """What is written down of a run: one element of each array of the statement ``finish``."""

    id: uuid.UUID
    epoch: int
    state: JobState
    #: JSON text.
    result: str | None = None
    error: str | None = None
    #: Until the next run, where the state is PENDING; 0.0 is at once. None is a job that has not
    #: begun, and goes back to where it stood.
    seconds: float | None = None
    #: Whether the attempt counts.
    spent: bool = True
    kind: FailureKind | None = None
    error_class: str | None = None
    traceback: str | None = None
