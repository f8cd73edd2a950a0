"""A saga that a runner holds: its rows as they are decided, and what of that is not stored yet."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sagas.definition import Saga
from sagas.plan import SUSPECT, is_past_pivot
from sagas.records import Attempt, Change, Event, SagaRow, StepRow
from sagas.states import Direction


class Held:
    """``in_flight`` are the calls that are under way, by the orders of their steps; ``valid_until``
    is the end of the lease by ``time.monotonic``, at the earliest."""

    __slots__ = (
        *("attempts", "changed", "definition", "events", "in_flight", "lost", "rests"),
        *("rests_until", "saga", "steps", "unsure", "valid_until"),
    )

    def __init__(
        self,
        definition: type[Saga],
        saga: SagaRow,
        steps: tuple[StepRow, ...],
        *,
        valid_until: float,
    ) -> None:
        self.definition = definition
        self.saga = saga
        self.steps = steps
        self.valid_until = valid_until
        self.in_flight: dict[int, Any] = {}
        #: Somebody else has it now.
        self.lost = False
        #: A write may have been stored or not: what is stored has to be read.
        self.unsure = False
        #: It is to be let go with the next write, and is due again then; None is never.
        self.rests = False
        self.rests_until: datetime | None = None
        self.forget_changes()

    def forget_changes(self) -> None:
        """They are stored."""
        self.changed: dict[int, StepRow] = {}
        self.events: list[Event] = []
        self.attempts: dict[tuple[uuid.UUID, Direction, int], Attempt] = {}

    @property
    def is_suspect(self) -> bool:
        """Whether something in it may be what ends its runners."""
        return self.saga.lost >= SUSPECT

    @property
    def has_changes(self) -> bool:
        return bool(self.changed or self.events or self.attempts or self.rests)

    def apply(self, change: Change) -> None:
        self.saga = change.saga
        if change.steps:
            steps = list(self.steps)
            for step in change.steps:
                steps[step.order] = self.changed[step.order] = step
            self.steps = tuple(steps)
        self.events += change.events
        for attempt in change.attempts:
            key = (attempt.step_id, attempt.direction, attempt.number)
            begun = self.attempts.get(key)
            if begun is not None and attempt.started_at is None:
                attempt = replace(attempt, started_at=begun.started_at)  # noqa: PLW2901
            self.attempts[key] = attempt

    def snapshot(self) -> Held:
        """The same with nothing shared, for a try that may be undone."""
        copy = Held(self.definition, self.saga, self.steps, valid_until=self.valid_until)
        copy.changed = dict(self.changed)
        copy.events = list(self.events)
        copy.attempts = dict(self.attempts)
        copy.in_flight = dict(self.in_flight)
        return copy

    def become(self, other: Held) -> None:
        """Take over what another one of the same saga has."""
        for name in self.__slots__:
            if name not in {"definition", "in_flight"}:
                setattr(self, name, getattr(other, name))

    def is_stored_in(self, stored: Held) -> bool:
        """Whether its changes are in what is stored: one statement writes all of them or none."""
        if self.changed:
            return all(stored.steps[order] == row for order, row in self.changed.items())
        mine, theirs = self.saga, stored.saga
        return (mine.state, mine.incident) == (theirs.state, theirs.incident)

    def asked(
        self,
        pause: datetime | None,
        cancel: datetime | None,
        deadline: datetime | None,
    ) -> None:
        """What people asked for by now."""
        saga = self.saga
        if (saga.pause_requested_at, saga.cancel_requested_at, saga.deadline_at) != (
            pause,
            cancel,
            deadline,
        ):
            self.saga = replace(
                saga, pause_requested_at=pause, cancel_requested_at=cancel, deadline_at=deadline
            )


def as_parameters(sagas: Sequence[Held]) -> dict[str, str]:
    """Pure: their changes as the parameters of the statement ``record``."""
    return {
        "sagas": _text([_saga(held) for held in sagas]),
        "steps": _text([row for held in sagas for row in _steps(held)]),
        "attempts": _text([row for held in sagas for row in _attempts(held)]),
        "events": _text([row for held in sagas for row in _events(held)]),
    }


def _text(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, default=str, separators=(",", ":"))


def _saga(held: Held) -> dict[str, Any]:
    saga = held.saga
    return {
        "id": saga.id,
        "epoch": saga.epoch,
        "state": saga.state,
        "outcome": saga.outcome,
        "error": saga.error,
        "incident": saga.incident,
        "lost": saga.lost,
        "due_at": held.rests_until,
        "held": not held.rests,
        "past": is_past_pivot(held.definition, held.steps),
        "pause": saga.pause_requested_at,
        "cancel": saga.cancel_requested_at,
        "deadline": saga.deadline_at,
    }


def _steps(held: Held) -> Iterator[dict[str, Any]]:
    saga = str(held.saga.id)
    for row in held.changed.values():
        yield {
            "saga_id": saga,
            "id": row.id,
            "state": row.state,
            "input": row.input,
            "output": row.output,
            "undone": row.undone,
            "error": row.error,
            "retry_count": row.retry_count,
            "compensation_attempts": row.compensation_attempts,
            "verifications": row.verifications,
            "waits": row.waits,
            "started_at": row.started_at,
            "completed_at": row.completed_at,
            "due_at": row.due_at,
            "timeout_at": row.timeout_at,
            "deadline_at": row.deadline_at,
        }


def _attempts(held: Held) -> Iterator[dict[str, Any]]:
    saga = str(held.saga.id)
    for one in held.attempts.values():
        yield {
            "saga_id": saga,
            "step_id": one.step_id,
            "direction": one.direction,
            "number": one.number,
            "epoch": held.saga.epoch,
            "started_at": one.started_at,
            "finished_at": one.finished_at,
            "error_class": one.error_class,
            "error": one.error,
        }


def _events(held: Held) -> Iterator[dict[str, Any]]:
    saga = str(held.saga.id)
    for place, event in enumerate(held.events):
        yield {
            "saga_id": saga,
            "type": event.type,
            "step": event.step,
            "message": event.message,
            "payload": {"epoch": held.saga.epoch, **event.payload},
            "place": place,
        }
