"""Pure: what becomes of a job when a run has ended: done for good, or another run, and when."""

from __future__ import annotations

from random import Random
from typing import Any

from hodei import values
from hodei.backoff import Backoff
from hodei.values import NotJson, shown
from jobs.runs import Cancelled, Claimed, Ended, Failed, Outcome, Snoozed, Succeeded, TimedOut
from jobs.states import FailureKind, JobState

#: Characters that are kept of an error, and of its traceback, of which the end says most.
LONGEST_ERROR = 8_192
LONGEST_TRACEBACK = 32_768
#: Seconds until another run, at most: ten years.
LONGEST_PAUSE = 10 * 366 * 86_400.0
#: Bytes of JSON that a result may have.
LARGEST_RESULT = 1024 * 1024

#: Failures that another run may not meet again, whoever is to blame for them.
RETRYABLE = frozenset(
    {
        FailureKind.INFRASTRUCTURE_ERROR,
        FailureKind.PROCESS_SPAWN_FAILED,
        FailureKind.IO_ERROR,
        FailureKind.EXECUTION_TIMEOUT,
        FailureKind.SIGNAL_RECEIVED,
        FailureKind.NON_ZERO_EXIT_CODE,
        FailureKind.UNKNOWN,
    }
)


#: Between runs of a job that does not say otherwise.
DEFAULT_BACKOFF = Backoff(base=5.0, cap=3600.0)


def end(
    job: Claimed,
    outcome: Outcome,
    *,
    rng: Random,
    backoff: Backoff = DEFAULT_BACKOFF,
    allow_retry: bool = True,
) -> Ended:
    """What to write down of a run that has spent an attempt. Raises TypeError, ValueError and
    AttributeError for what no executor may return."""
    _check(outcome)

    def again_in(failure: Failed) -> float | None:
        """Seconds until the next run, or None if this was the last."""
        retryable = failure.kind in RETRYABLE if failure.retryable is None else failure.retryable
        if not retryable or not allow_retry or job.attempts >= job.max_attempts:
            return None
        if failure.retry_in is not None:
            return _pause(failure.retry_in)
        return backoff.pause(max(job.attempts, 1), rng)

    match outcome:
        case Succeeded(result):
            try:
                text = result_text(result)
            except ValueError as error:
                failure = Failed(FailureKind.VALIDATION_ERROR, str(error), retryable=False)
                return end(job, failure, rng=rng, allow_retry=False)
            return Ended(job.id, job.epoch, JobState.SUCCEEDED, text)
        case Snoozed(seconds):
            return Ended(job.id, job.epoch, JobState.PENDING, seconds=_pause(seconds), spent=False)
        case Cancelled(message, result):
            return Ended(job.id, job.epoch, JobState.CANCELLED, _kept(result), storable(message))
        case TimedOut(message, result, retryable):
            failure = Failed(
                FailureKind.EXECUTION_TIMEOUT, message, result=result, retryable=retryable
            )
            return _failed(job, failure, JobState.TIMEOUT, again_in(failure))
        case Failed():
            return _failed(job, outcome, JobState.FAILED, again_in(outcome))


def _check(given: object) -> None:
    if not isinstance(given, Outcome):
        raise TypeError(f"An executor returned {shown(given)}, which is no outcome of a run.")


def _pause(seconds: float) -> float:
    """What an executor says, within what can be stored: what is no number is at once."""
    return min(max(0.0, seconds), LONGEST_PAUSE)


def returned(job: Claimed) -> Ended:
    """Put back as it was, and where it was: it has not begun."""
    return Ended(job.id, job.epoch, JobState.PENDING, spent=not job.started)


def result_text(result: Any) -> str | None:
    """A result as JSON text. Raises ValueError for what cannot be stored."""
    if result is None:
        return None
    try:
        return values.json_text(result, LARGEST_RESULT)
    except NotJson as error:
        raise ValueError(f"The result {error}") from error


def storable(text: str, longest: int = LONGEST_ERROR) -> str:
    """A text as PostgreSQL can store it, and no longer than that."""
    clean = values.storable(text)
    return clean if len(clean) <= longest else f"{clean[: longest - 3]}..."


def _failed(job: Claimed, failure: Failed, final: JobState, seconds: float | None) -> Ended:
    trace = failure.traceback
    return Ended(
        job.id,
        job.epoch,
        final if seconds is None else JobState.PENDING,
        _kept(failure.result),
        storable(failure.message),
        seconds,
        kind=FailureKind(failure.kind),
        error_class=failure.error_class and storable(failure.error_class, 255),
        traceback=trace and storable(trace[-LONGEST_TRACEBACK:], LONGEST_TRACEBACK),
    )


def _kept(result: Any) -> str | None:
    try:
        return result_text(result)
    except ValueError:
        return None
