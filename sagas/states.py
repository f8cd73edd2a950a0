"""The states and outcomes of sagas and of their steps: one list each, and the moves between them.

Migrations spell the same values out, and a test compares them. Pure: no Django, no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class SagaState(StrEnum):
    """Where a saga is. How a finished one ended is its outcome."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPENSATING = "COMPENSATING"  # a direction never forgotten: it does not turn forward again
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


SAGA_LIVE = frozenset({SagaState.PENDING, SagaState.IN_PROGRESS, SagaState.COMPENSATING})

SAGA_TRANSITIONS: Mapping[SagaState, frozenset[SagaState]] = {
    # Cancelled before its first step: there is nothing to compensate.
    SagaState.PENDING: frozenset({SagaState.IN_PROGRESS, SagaState.CANCELLED}),
    SagaState.IN_PROGRESS: frozenset({SagaState.COMPLETED, SagaState.COMPENSATING}),
    SagaState.COMPENSATING: frozenset({SagaState.COMPLETED, SagaState.FAILED, SagaState.CANCELLED}),
    SagaState.COMPLETED: frozenset(),
    # A person retries the failed compensation.
    SagaState.FAILED: frozenset({SagaState.COMPENSATING}),
    SagaState.CANCELLED: frozenset(),
}


class SagaOutcome(StrEnum):
    """How a finished saga ended: its state alone cannot tell a rollback from success."""

    COMPLETED = "COMPLETED"
    COMPENSATED = "COMPENSATED"
    COMPENSATION_FAILED = "COMPENSATION_FAILED"  # waits for a person
    CANCELLED = "CANCELLED"


#: The state in which a saga with this outcome rests.
OUTCOME_STATES: Mapping[SagaOutcome, SagaState] = {
    SagaOutcome.COMPLETED: SagaState.COMPLETED,
    SagaOutcome.COMPENSATED: SagaState.COMPLETED,
    SagaOutcome.COMPENSATION_FAILED: SagaState.FAILED,
    SagaOutcome.CANCELLED: SagaState.CANCELLED,
}


class StepState(StrEnum):
    """Where a step is. It is stored before it acts, so IN_PROGRESS after a crash means unknown."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"  # for sure not done
    UNKNOWN = "UNKNOWN"  # timed out or crashed: done or not, nobody has said
    SKIPPED = "SKIPPED"  # a person gave its output
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    PARKED = "PARKED"  # its compensation failed for good: waits for a person


STEP_TRANSITIONS: Mapping[StepState, frozenset[StepState]] = {
    StepState.PENDING: frozenset(
        {
            StepState.IN_PROGRESS,
            StepState.SKIPPED,
            # Its time was over before another attempt.
            StepState.FAILED,
            # The saga turns back while its action waits for something.
            StepState.UNKNOWN,
        }
    ),
    StepState.IN_PROGRESS: frozenset(
        {StepState.COMPLETED, StepState.FAILED, StepState.UNKNOWN, StepState.PENDING}
    ),
    # Parked without a trace of a call: undoing it ends its runners.
    StepState.COMPLETED: frozenset({StepState.COMPENSATING, StepState.PARKED}),
    StepState.FAILED: frozenset({StepState.PENDING, StepState.IN_PROGRESS, StepState.SKIPPED}),
    # Verified or judged by a person as done or not done; or called again with the same key; else
    # compensated as if done.
    StepState.UNKNOWN: frozenset(
        {
            StepState.COMPLETED,
            StepState.FAILED,
            StepState.PENDING,
            StepState.IN_PROGRESS,
            StepState.SKIPPED,
            StepState.COMPENSATING,
            StepState.PARKED,
        }
    ),
    StepState.SKIPPED: frozenset({StepState.COMPENSATING, StepState.PARKED}),
    StepState.COMPENSATING: frozenset({StepState.COMPENSATED, StepState.PARKED}),
    StepState.COMPENSATED: frozenset(),
    # Retried, or marked as handled by hand.
    StepState.PARKED: frozenset({StepState.COMPENSATING, StepState.COMPENSATED}),
}


class Direction(StrEnum):
    """Which half of a step an attempt ran."""

    FORWARD = "FORWARD"
    COMPENSATION = "COMPENSATION"


class SagaKind(StrEnum):
    """The built-in kinds; an application registers others by name."""

    PROVISIONING = "PROVISIONING"
    EXECUTION = "EXECUTION"
    RECOVERY = "RECOVERY"
    CANCELLATION = "CANCELLATION"
    TIMEOUT = "TIMEOUT"
    CLEANUP = "CLEANUP"
