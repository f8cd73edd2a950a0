"""Pure: what becomes of a job when a run has ended: done for good, or another run, and when."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hodei.backoff import Backoff
from jobs.runs import Cancelled, Claimed, Ended, Failed, Outcome, Snoozed, Succeeded, TimedOut
from jobs.states import FailureKind, JobState

#: Characters that are kept of an error, and of its traceback, of which the end says most.
LONGEST_ERROR = 8_192
LONGEST_TRACEBACK = 32_768
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
    """What to write down of a run that has spent an attempt."""

    def again_in(failure: Failed) -> float | None:
        """Seconds until the next run, or None if this was the last."""
        retryable = failure.kind in RETRYABLE if failure.retryable is None else failure.retryable
        if not retryable or not allow_retry or job.attempts >= job.max_attempts:
            return None
        if failure.retry_in is not None:
            return max(failure.retry_in, 0.0)
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
            return Ended(
                job.id, job.epoch, JobState.PENDING, seconds=max(seconds, 0.0), spent=False
            )
        case Cancelled(message, result):
            return Ended(job.id, job.epoch, JobState.CANCELLED, _kept(result), storable(message))
        case TimedOut(message, result, retryable):
            failure = Failed(
                FailureKind.EXECUTION_TIMEOUT, message, result=result, retryable=retryable
            )
            return _failed(job, failure, JobState.TIMEOUT, again_in(failure))
        case Failed():
            return _failed(job, outcome, JobState.FAILED, again_in(outcome))


def returned(job: Claimed) -> Ended:
    """Put back as it was: it has not begun."""
    return Ended(job.id, job.epoch, JobState.PENDING, seconds=0.0, spent=not job.started)


def result_text(result: Any) -> str | None:
    """A result as JSON text. Raises ValueError for what cannot be stored."""
    if result is None:
        return None
    try:
        text = json.dumps(result, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The result cannot be JSON: {error}.") from error
    if "\\u0000" in text:
        raise ValueError("The result holds a NUL character, which PostgreSQL cannot store.")
    size = len(text.encode(errors="surrogatepass"))
    if size > LARGEST_RESULT:
        raise ValueError(
            f"The result has {size:,} bytes as JSON; at most {LARGEST_RESULT:,} are kept."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("The result holds half a surrogate pair.") from error
    return text


def storable(text: str, longest: int = LONGEST_ERROR) -> str:
    """A text as PostgreSQL can store it, and no longer than that."""
    clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
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
        kind=failure.kind,
        error_class=failure.error_class and storable(failure.error_class, 255),
        traceback=trace and storable(trace[-LONGEST_TRACEBACK:], LONGEST_TRACEBACK),
    )


def _kept(result: Any) -> str | None:
    try:
        return result_text(result)
    except ValueError:
        return None
