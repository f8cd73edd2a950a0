"""Pure: a saga and its steps as they are stored, and what is written about them.

Rows are never changed: each decision makes new ones, so that what a transaction has undone can be
forgotten by going back to the old ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sagas.states import Direction, SagaOutcome, SagaState, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaRow:
    """A saga. ``error``: why it turned back; ``incident``: why it waits for a person."""

    id: uuid.UUID
    kind: str
    version: int
    state: SagaState
    input: Any
    epoch: int = 0
    correlation_id: str | None = None
    actor: str | None = None
    error: str | None = None
    incident: str | None = None
    deadline_at: datetime | None = None
    pause_requested_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    outcome: SagaOutcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A step; the fields are the columns of ``saga_steps``."""

    id: uuid.UUID
    name: str
    order: int
    state: StepState = StepState.PENDING
    output: Any = None
    #: What the compensation returned.
    undone: Any = None
    error: str | None = None
    retry_count: int = 0
    compensation_attempts: int = 0
    verifications: int = 0
    waits: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    due_at: datetime | None = None
    timeout_at: datetime | None = None
    deadline_at: datetime | None = None

    @property
    def attempt(self) -> int:
        """The number of the newest attempt of its action; 0 before the first."""
        return 0 if self.started_at is None else self.retry_count + 1

    @property
    def has_output(self) -> bool:
        return self.state in _WITH_OUTPUT


_WITH_OUTPUT = frozenset(
    {
        StepState.COMPLETED,
        StepState.SKIPPED,
        StepState.COMPENSATING,
        StepState.COMPENSATED,
        StepState.PARKED,
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """An audit event."""

    type: str
    message: str
    step: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The begin or the end of an attempt, or both."""

    step_id: uuid.UUID
    direction: Direction
    number: int
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error_class: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What one decision changes: the new rows, and what is told of it."""

    saga: SagaRow
    steps: tuple[StepRow, ...] = ()
    events: tuple[Event, ...] = ()
    attempts: tuple[Attempt, ...] = ()


def outputs(steps: Sequence[StepRow]) -> dict[str, Any]:
    """The outputs of the steps that are done, by name."""
    return {step.name: step.output for step in steps if step.has_output}
