"""Pure: the names of what happens, in the audit and as events: one list, and which are ends."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class JobEvent(StrEnum):
    """What happens to a job, as a word of the audit and as the type of an event."""

    ENQUEUED = "JobEnqueued"
    PROMOTED = "JobPromoted"  # it was due later, and is due now
    ASSIGNED = "JobAssigned"  # a worker holds it, and has not begun it
    STARTED = "JobStarted"
    RETURNED = "JobReturned"  # back in the queue without a failure: returned, or snoozed
    RETRY_SCHEDULED = "JobRetryScheduled"  # a run failed, and another one follows
    RESCUED = "JobRescued"  # its worker vanished, and it is back in the queue
    RETRIED = "JobRetried"  # a person lets it run again
    HELD = "JobHeld"
    RELEASED = "JobReleased"
    DELETED = "JobDeleted"
    SUCCEEDED = "JobSucceeded"
    FAILED = "JobFailed"
    TIMED_OUT = "JobTimedOut"
    CANCELLED = "JobCancelled"


class WorkerEvent(StrEnum):
    """What happens to a worker."""

    CREATED = "WorkerCreated"
    REGISTERED = "WorkerRegistered"
    STATE_CHANGED = "WorkerStateChanged"
    TERMINATED = "WorkerTerminated"
    LOST = "WorkerLost"


class ProviderEvent(StrEnum):
    """What happens to a provider."""

    SAVED = "ProviderSaved"
    STATUS_CHANGED = "ProviderStatusChanged"
    DELETED = "ProviderDeleted"


#: Everything that can be an event.
ALL: frozenset[str] = frozenset({*JobEvent, *WorkerEvent, *ProviderEvent})
#: What each of them is about, as the outbox calls it.
KINDS: Mapping[str, str] = {
    **dict.fromkeys(JobEvent, "JOB"),
    **dict.fromkeys(WorkerEvent, "WORKER"),
    **dict.fromkeys(ProviderEvent, "PROVIDER"),
}
#: Ends of jobs and workers: what consumers are told of unless they want all.
FINAL: frozenset[str] = frozenset(
    {
        *(JobEvent.SUCCEEDED, JobEvent.FAILED, JobEvent.TIMED_OUT, JobEvent.CANCELLED),
        *(WorkerEvent.TERMINATED, WorkerEvent.LOST),
    }
)
#: What is on record always, whoever did it.
IMPORTANT: frozenset[str] = frozenset(
    {JobEvent.FAILED, JobEvent.TIMED_OUT, JobEvent.CANCELLED, WorkerEvent.LOST}
)
