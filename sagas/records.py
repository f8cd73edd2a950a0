"""Pure: a saga and its steps as they are stored, and what is written about them.

Rows are never changed: each decision makes new ones, so that what a transaction has undone can be
forgotten by going back to the old ones.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from sagas.states import Direction, SagaOutcome, SagaState, StepState

Row = TypeVar("Row")
#: Characters of JSON that are kept of what a step got.
LARGEST_INPUT = 16 * 1024


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
    #: Runners in a row that were gone while they had it, and nothing of it had got on.
    lost: int = 0
    outcome: SagaOutcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A step; the fields are the columns of ``saga_steps``."""

    id: uuid.UUID
    name: str
    order: int
    state: StepState = StepState.PENDING
    #: What its functions get, when it begins: kept for people, and not read again.
    input: Any = field(default=None, compare=False)
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


def changed(row: Row, **new: Any) -> Row:
    """The row with these fields: ``dataclasses.replace`` in half the time, which counts where there
    are several for each step. Raises AttributeError for a field that it does not have."""
    read, write = _fields(type(row))  # type: ignore[arg-type]
    copy = object.__new__(type(row))
    for put, value in zip(write, read(row), strict=True):
        put(copy, value)
    for name, value in new.items():
        object.__setattr__(copy, name, value)
    return copy


@cache
def _fields(kind: type[Any]) -> tuple[Callable[[Any], Any], tuple[Callable[[Any, Any], None], ...]]:
    """How all fields of a row are read, and how each of them is written."""
    names = [one.name for one in fields(kind)]
    return attrgetter(*names), tuple(getattr(kind, name).__set__ for name in names)


def outputs(steps: Sequence[StepRow]) -> dict[str, Any]:
    """The outputs of the steps that are done, by name."""
    return {step.name: step.output for step in steps if step.has_output}


def kept_input(saga: SagaRow, steps: Sequence[StepRow]) -> dict[str, Any]:
    """What a step that begins now gets, as it is kept with it: ``input`` and ``outputs``. Beyond
    LARGEST_INPUT it is the newest outputs that are kept; the others are named, as ``left_out``."""
    found = outputs(steps)
    kept: dict[str, Any] = {"input": saga.input, "outputs": found}
    if _size(kept) <= LARGEST_INPUT:
        return kept
    room = LARGEST_INPUT - _size(saga.input)
    kept = {"input": saga.input} if room >= 0 else {}
    some: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in reversed(found.items()):
        room = room if left_out else room - _size(value)
        if room < 0:
            left_out.append(name)
        else:
            some[name] = value
    kept["outputs"] = some
    return {**kept, "left_out": left_out} if left_out else kept


def _size(value: Any) -> int:
    return len(json.dumps(value))
