"""Pure: what to do next with a saga, from its stored steps, its definition and the time.

Recovery is the same code as running: nobody has to remember anything.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias

from sagas.definition import Saga, Step
from sagas.records import SagaRow, StepRow
from sagas.states import SagaOutcome, SagaState, StepState


@dataclass(frozen=True, slots=True)
class Act:
    """Call the actions of these steps, by their orders: more than one only in a group."""

    orders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Verify this step."""

    order: int


@dataclass(frozen=True, slots=True)
class Undo:
    """Call the compensation of this step."""

    order: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """Of these steps nobody knows: write that down."""

    orders: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """This step is not undone, nor asked about, any more: a person has to see to it."""

    order: int
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The time of this step is over, and its action is not tried again: it has failed."""

    order: int


@dataclass(frozen=True, slots=True)
class TurnBack:
    """Compensate from here; ``step`` is the one that failed, if it was one."""

    reason: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    outcome: SagaOutcome


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do until then; None: until a person decides something. ``incident`` is why it
    waits for a person where nobody asked it to."""

    until: datetime | None
    incident: str | None = None


@dataclass(frozen=True, slots=True)
class Stay:
    """Wait for the calls that are under way."""


Move: TypeAlias = Act | Ask | Undo | Doubt | Park | GiveUp | TurnBack | End | Rest | Stay

_DONE = frozenset({StepState.COMPLETED, StepState.SKIPPED})
CRASHED = "The runner that called it is gone."
TURNED_BACK = "The saga turned back while it waited."
CANCELLED = "It was cancelled."
DEADLINE = "Its deadline has passed."
#: So many runners in a row may be gone, without a call that came back, before a person is asked.
MOST_LOST = 5
#: From so many on a saga is kept apart: something in it may be what ends them.
SUSPECT = 2


def plan(
    definition: type[Saga],
    saga: SagaRow,
    steps: Sequence[StepRow],
    now: datetime,
    in_flight: Collection[int] = (),
) -> Move:
    """``in_flight`` are the orders of the steps that this runner is calling now."""
    lost = tuple(
        step.order
        for step in steps
        if step.state is StepState.IN_PROGRESS and step.order not in in_flight
    )
    if lost:
        return Doubt(lost, CRASHED)
    if saga.pause_requested_at is not None:
        return Stay() if in_flight else Rest(None)
    if saga.state is SagaState.COMPENSATING:
        return _backward(definition, saga, steps, now, in_flight)
    return _forward(definition, saga, steps, now, in_flight)


def pivot_of(definition: type[Saga], steps: Sequence[StepRow]) -> StepRow | None:
    for step in definition.steps:
        if step.pivot:
            return next((row for row in steps if row.name == step.name), None)
    return None


def is_past_pivot(definition: type[Saga], steps: Sequence[StepRow]) -> bool:
    """Whether the saga only goes forward from here."""
    pivot = pivot_of(definition, steps)
    return pivot is not None and pivot.state in _DONE


def stages(definition: type[Saga]) -> tuple[tuple[int, ...], ...]:
    """The orders of the steps, those together that run at once."""
    return _stages(definition)  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _stages(definition: type[Saga]) -> tuple[tuple[int, ...], ...]:
    found: list[tuple[int, ...]] = []
    group: str | None = None
    for order, step in enumerate(definition.steps):
        if step.group is not None and step.group == group:
            found[-1] += (order,)
        else:
            found.append((order,))
        group = step.group
    return tuple(found)


def needs_undoing(step: Step, row: StepRow) -> bool:
    if row.state is StepState.COMPENSATING:
        return True
    done = row.state in _DONE or row.state is StepState.UNKNOWN
    return done and step.compensation is not None


# --- forward -----------------------------------------------------------------------------------


def _forward(
    definition: type[Saga],
    saga: SagaRow,
    steps: Sequence[StepRow],
    now: datetime,
    in_flight: Collection[int],
) -> Move:
    stage = next(
        (
            orders
            for orders in stages(definition)
            if any(steps[o].state not in _DONE for o in orders)
        ),
        None,
    )
    past = is_past_pivot(definition, steps)
    if stage is None:
        late = saga.cancel_requested_at is not None and not past
        return TurnBack(CANCELLED) if late else End(SagaOutcome.COMPLETED)
    moves = [
        _step_forward(definition.steps[order], steps[order], now, past=past)
        for order in stage
        if order not in in_flight and steps[order].state not in _DONE
    ]
    if saga.lost >= MOST_LOST:
        moves = _not_called(saga, moves, steps)
    back = None if past else _why_back(saga, moves, now)
    if back is not None:
        return _leave(definition, steps, moves, back, in_flight)
    acting = tuple(order for move in moves if isinstance(move, Act) for order in move.orders)
    first = next((move for move in moves if isinstance(move, Ask | GiveUp | Doubt)), None)
    if first is not None:
        return first
    if acting:
        return Act(acting)
    if in_flight:
        return Stay()
    return _rest(saga, moves, past=past)


def _step_forward(step: Step, row: StepRow, now: datetime, *, past: bool) -> Move:
    """What to do with a step that is not done and that nobody is calling."""
    over = row.deadline_at is not None and row.deadline_at <= now
    waits = row.due_at is not None and row.due_at > now
    if row.state is StepState.PENDING:
        if over and past:
            return Rest(None, f"The time for {row.name} is over, and the saga cannot go back.")
        if over:
            doubt = "The time for it was over while it waited."
            return Doubt((row.order,), doubt) if row.waits else GiveUp(row.order)
        return Rest(_earliest(row.due_at, row.deadline_at)) if waits else Act((row.order,))
    if row.state is StepState.UNKNOWN:
        return _resolve(step, row, now, over=over, past=past)
    # FAILED
    if past:
        return Rest(None, f"{row.name} has failed for good, and the saga cannot go back.")
    return TurnBack(f"{row.name} failed: {row.error or 'it does not say why'}", row.name)


def _resolve(step: Step, row: StepRow, now: datetime, *, over: bool, past: bool) -> Move:
    """How to find out about an unknown step while the saga goes forward."""
    way: Act | Ask | None = None
    if over:
        pass
    elif may_repeat(step, row, past=past):
        way = Act((row.order,))
    elif step.verify is not None and row.verifications < step.verify_retry.attempts:
        way = Ask(row.order)
    if way is not None:
        waits = row.due_at is not None and row.due_at > now
        return Rest(_earliest(row.due_at, row.deadline_at)) if waits else way
    if past or step.pivot:
        return Rest(None, f"Nobody knows whether {row.name} was done: mark it as done or not done.")
    return TurnBack(
        f"nobody knows whether {row.name} was done: {row.error or ''}".rstrip(": "), row.name
    )


def may_repeat(step: Step, row: StepRow, *, past: bool) -> bool:
    """Whether the action of an unknown step may be called again with its key: the author says so,
    or the step has waited, and is called again by its nature, once its verification was asked."""
    if row.waits:
        return step.verify is None or row.verifications > 0
    if step.verify is not None or not step.retry.unknown:
        return False
    return past or row.attempt < step.retry.attempts


def _why_back(saga: SagaRow, moves: Sequence[Move], now: datetime) -> TurnBack | None:
    failed = next((move for move in moves if isinstance(move, TurnBack)), None)
    if failed is not None:
        return failed
    if saga.cancel_requested_at is not None:
        return TurnBack(CANCELLED)
    if saga.deadline_at is not None and saga.deadline_at <= now:
        return TurnBack(DEADLINE)
    return None


def _leave(
    definition: type[Saga],
    steps: Sequence[StepRow],
    moves: Sequence[Move],
    back: TurnBack,
    in_flight: Collection[int],
) -> Move:
    """Turn back, once nothing runs any more and it is known that the pivot was not done."""
    if in_flight:
        return Stay()
    pivot = pivot_of(definition, steps)
    if pivot is not None and (pivot.state is StepState.UNKNOWN or pivot.waits):
        move = next((m for m in moves if not isinstance(m, TurnBack)), None)
        if move is not None:
            return move
    return back


def _not_called(saga: SagaRow, moves: Sequence[Move], steps: Sequence[StepRow]) -> list[Move]:
    """A person is asked instead."""
    calls = {move: _orders(move) for move in moves if isinstance(move, Act | Ask)}
    names = " or ".join(steps[order].name for orders in calls.values() for order in orders)
    incident = (
        f"{saga.lost} runners in a row were gone before {names} came back: it may be what kills "
        "them. Find out why, then retry or skip it, or compensate."
    )
    return [Rest(None, incident) if move in calls else move for move in moves]


def _orders(move: Act | Ask) -> tuple[int, ...]:
    return move.orders if isinstance(move, Act) else (move.order,)


def _rest(saga: SagaRow, moves: Sequence[Move], *, past: bool) -> Rest:
    rests = [move for move in moves if isinstance(move, Rest)]
    incident = next((rest.incident for rest in rests if rest.incident), None)
    until = _earliest(*(rest.until for rest in rests))
    if not past:
        until = _earliest(until, saga.deadline_at)
    return Rest(until, incident)


# --- backward ----------------------------------------------------------------------------------


def _backward(
    definition: type[Saga],
    saga: SagaRow,
    steps: Sequence[StepRow],
    now: datetime,
    in_flight: Collection[int],
) -> Move:
    if in_flight:
        return Stay()
    waiting = tuple(row.order for row in steps if row.state is StepState.PENDING and row.waits)
    if waiting:
        return Doubt(waiting, TURNED_BACK)
    move = _find_out(definition, steps, now) or _undo(definition, steps, now)
    if isinstance(move, Ask | Undo) and saga.lost >= MOST_LOST:
        reason = f"{saga.lost} runners in a row were gone before it was undone"
        return Park(move.order, f"{reason}: that may be what kills them.")
    if move is not None:
        return move
    if any(row.state is StepState.PARKED for row in steps):
        return End(SagaOutcome.COMPENSATION_FAILED)
    cancelled = saga.cancel_requested_at is not None
    return End(SagaOutcome.CANCELLED if cancelled else SagaOutcome.COMPENSATED)


def _find_out(definition: type[Saga], steps: Sequence[StepRow], now: datetime) -> Move | None:
    """Ask about what nobody knows, before anything is undone."""
    for row in steps:
        step = definition.steps[row.order]
        if row.state is StepState.UNKNOWN and step.verify is not None:
            over = row.deadline_at is not None and row.deadline_at <= now
            if row.verifications < step.verify_retry.attempts and not over:
                waits = row.due_at is not None and row.due_at > now
                return Rest(row.due_at) if waits else Ask(row.order)
    return None


def _undo(definition: type[Saga], steps: Sequence[StepRow], now: datetime) -> Move | None:
    """Undo what was done last."""
    undoing = [row for row in steps if needs_undoing(definition.steps[row.order], row)]
    if not undoing:
        return None
    row = max(undoing, key=_completion)
    if row.state is StepState.COMPENSATING and row.due_at is not None and row.due_at > now:
        return Rest(row.due_at)
    return Undo(row.order)


def _completion(row: StepRow) -> tuple[bool, bool, datetime | int, int]:
    """Sorts by when a step was done: what is being undone is last, and what may be running."""
    doing = row.state is StepState.COMPENSATING
    at: datetime | int = 0 if row.completed_at is None else row.completed_at
    return doing, row.completed_at is None, at, row.order


def _earliest(*instants: datetime | None) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)
