"""Pure: what is written down when a step is begun, and when a call of it came back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeAlias

from sagas.definition import Done, Retry, Saga, Step, Verdict
from sagas.plan import Doubt, End, GiveUp, Rest, TurnBack, may_repeat, needs_undoing
from sagas.records import Attempt, Change, Event, SagaRow, StepRow
from sagas.states import OUTCOME_STATES, Direction, SagaOutcome, SagaState, StepState

TIMED_OUT = "StepTimeout"


@dataclass(frozen=True, slots=True)
class Did:
    """The call returned; ``output`` is what JSON can hold."""

    output: Any = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not done, for sure."""

    message: str
    error_class: str = "StepFailed"
    retry: bool = True


@dataclass(frozen=True, slots=True)
class Doubted:
    """Nobody knows."""

    message: str
    error_class: str = "Unknown"


@dataclass(frozen=True, slots=True)
class Delayed:
    """Call it again later."""

    seconds: float


Outcome: TypeAlias = Did | Refused | Doubted | Delayed


# --- begins ------------------------------------------------------------------------------------


def begin_action(step: Step, row: StepRow, saga: SagaRow, now: datetime) -> Change:
    """The intent, which is committed before the action is called."""
    again = row.waits > 0
    started = row.started_at or now
    deadline = row.deadline_at
    if deadline is None and step.total_timeout is not None:
        deadline = started + step.total_timeout
    new = replace(
        row,
        state=StepState.IN_PROGRESS,
        started_at=started,
        retry_count=row.retry_count + (0 if row.started_at is None or again else 1),
        due_at=None,
        deadline_at=deadline,
        timeout_at=timeout(step, deadline, now),
    )
    if again:
        return Change(saga, (new,))
    return Change(
        saga,
        (new,),
        (Event("STEP_STARTED", f"{row.name} begins", row.name, {"attempt": new.attempt}),),
        (Attempt(step_id=row.id, direction=Direction.FORWARD, number=new.attempt, started_at=now),),
    )


def begin_undoing(step: Step, row: StepRow, saga: SagaRow, now: datetime) -> Change:
    again = row.state is StepState.COMPENSATING and row.waits > 0
    number = row.compensation_attempts + (0 if again else 1)
    new = replace(
        row,
        state=StepState.COMPENSATING,
        compensation_attempts=number,
        waits=row.waits if again else 0,
        due_at=None,
        timeout_at=timeout(step, None, now),
    )
    if again:
        return Change(saga, (new,))
    event = Event("STEP_COMPENSATING", f"{row.name} is being undone", row.name, {"attempt": number})
    attempt = Attempt(
        step_id=row.id, direction=Direction.COMPENSATION, number=number, started_at=now
    )
    return Change(saga, (new,), (event,), (attempt,))


def timeout(step: Step, deadline: datetime | None, now: datetime) -> datetime:
    """By when a call that begins now has to be back."""
    at = now + step.timeout
    return at if deadline is None else min(at, deadline)


# --- ends of calls -----------------------------------------------------------------------------


def end_action(
    step: Step,
    row: StepRow,
    saga: SagaRow,
    outcome: Outcome,
    now: datetime,
    rng: Random,
    *,
    past: bool,
) -> Change:
    """``past``: the saga only goes forward, so attempts are no limit."""
    match outcome:
        case Did(output):
            return _done(row, saga, output, now, "")
        case Delayed(seconds):
            new = replace(
                row,
                state=StepState.PENDING,
                waits=row.waits + 1,
                due_at=now + timedelta(seconds=seconds),
                timeout_at=None,
            )
            told = Event("STEP_WAITS", f"{row.name} waits", row.name)
            return Change(saga, (new,), (told,) if row.waits == 0 else ())
        case Refused():
            return _not_done(step, row, saga, outcome, now, rng, past=past)
        case Doubted(message, error_class):
            new = replace(
                row, state=StepState.UNKNOWN, error=message, timeout_at=None, due_at=None
            )
            if may_repeat(step, new, past=past):
                new = replace(new, due_at=_again(step.retry, new.attempt, now, rng))
            return Change(
                saga,
                (new,),
                (_event("STEP_UNKNOWN", f"Nobody knows: {message}", new, error_class),),
                (_ended(new, now, error_class, message),),
            )


def end_verification(
    step: Step,
    row: StepRow,
    saga: SagaRow,
    verdict: Verdict | Doubted,
    now: datetime,
    rng: Random,
    *,
    past: bool,
) -> Change:
    """A Doubted verdict is a verification that did not answer: as UNSURE."""
    if isinstance(verdict, Done):
        return _done(row, saga, verdict.output, now, ", as its verification says")
    if not isinstance(verdict, Doubted) and verdict.value == "not done":
        # Turning back, nothing is tried again.
        retry = saga.state is not SagaState.COMPENSATING
        refused = Refused("Verified: it was not done.", "NotDone", retry=retry)
        return _not_done(step, row, saga, refused, now, rng, past=past and retry)
    number = row.verifications + 1
    new = replace(
        row,
        verifications=number,
        due_at=_again(step.verify_retry, number, now, rng),
        timeout_at=None,
    )
    why = verdict.message if isinstance(verdict, Doubted) else "it cannot tell yet"
    return Change(
        saga, (new,), (Event("STEP_UNSURE", f"{row.name}: {why}", row.name, {"asked": number}),)
    )


def end_undoing(
    step: Step, row: StepRow, saga: SagaRow, outcome: Outcome, now: datetime, rng: Random
) -> Change:
    match outcome:
        case Did(output):
            new = replace(
                row,
                state=StepState.COMPENSATED,
                undone=output,
                waits=0,
                due_at=None,
                timeout_at=None,
            )
            told = Event("STEP_COMPENSATED", f"{row.name} is undone", row.name)
            return Change(saga, (new,), (told,), (_ended(new, now, undoing=True),))
        case Delayed(seconds):
            due = now + timedelta(seconds=seconds)
            return Change(saga, (replace(row, waits=row.waits + 1, due_at=due, timeout_at=None),))
        case Refused(message, error_class) | Doubted(message, error_class):
            final = isinstance(outcome, Refused) and not outcome.retry
            number = row.compensation_attempts
            if final or number >= step.compensation_retry.attempts:
                new = replace(
                    row, state=StepState.PARKED, error=message, waits=0, due_at=None, timeout_at=None
                )
                told = _event(
                    "STEP_PARKED", f"Cannot be undone: {message}", new, error_class, number
                )
            else:
                due = _again(step.compensation_retry, number, now, rng)
                new = replace(row, error=message, waits=0, due_at=due, timeout_at=None)
                told = _event("COMPENSATION_RETRIED", message, new, error_class, number)
            ended = _ended(new, now, error_class, message, undoing=True)
            return Change(saga, (new,), (told,), (ended,))


def at_once(begun: Change, ended: Change) -> Change:
    """Both as one: of a local step, whose begin nobody sees."""
    begins = {(one.step_id, one.direction, one.number): one for one in begun.attempts}
    attempts = []
    for one in ended.attempts:
        begin = begins.get((one.step_id, one.direction, one.number))
        attempts.append(one if begin is None else replace(one, started_at=begin.started_at))
    return replace(ended, attempts=tuple(attempts))


def put_off(row: StepRow, saga: SagaRow, seconds: float, now: datetime) -> Change:
    """A local step is to be called later; what it did is undone, so it has not begun."""
    return Change(saga, (replace(row, due_at=now + timedelta(seconds=seconds)),))


# --- what nobody was called for ----------------------------------------------------------------


def doubt(
    definition: type[Saga],
    steps: Sequence[StepRow],
    saga: SagaRow,
    move: Doubt,
    now: datetime,
    rng: Random,
) -> Change:
    """Write down that nobody knows of these steps."""
    rows: list[StepRow] = []
    for order in move.orders:
        row = replace(
            steps[order], state=StepState.UNKNOWN, error=move.reason, due_at=None, timeout_at=None
        )
        if may_repeat(definition.steps[order], row, past=False):
            row = replace(row, due_at=_again(definition.steps[order].retry, 1, now, rng))
        rows.append(row)
    return Change(
        saga,
        tuple(rows),
        tuple(
            _event("STEP_UNKNOWN", f"Nobody knows: {move.reason}", row, "Unknown") for row in rows
        ),
    )


def give_up(row: StepRow, saga: SagaRow, _move: GiveUp) -> Change:
    message = row.error or "its time was over before it was done"
    new = replace(row, state=StepState.FAILED, error=message, due_at=None, timeout_at=None)
    told = _event("STEP_FAILED", f"The time for it is over: {message}", new, TIMED_OUT)
    return Change(saga, (new,), (told,))


def turn_back(saga: SagaRow, move: TurnBack) -> Change:
    new = replace(saga, state=SagaState.COMPENSATING, error=move.reason, incident=None)
    told = Event("COMPENSATION_STARTED", move.reason, move.step)
    return Change(new, (), (told,))


def rest(saga: SagaRow, move: Rest) -> Change:
    if move.incident is None or move.incident == saga.incident:
        return Change(replace(saga, incident=move.incident))
    return Change(
        replace(saga, incident=move.incident), (), (Event("SAGA_WAITS_FOR_A_PERSON", move.incident),)
    )


def end(definition: type[Saga], saga: SagaRow, steps: Sequence[StepRow], move: End) -> Change:
    outcome = move.outcome
    incident = None
    if outcome is SagaOutcome.COMPENSATION_FAILED:
        left = ", ".join(row.name for row in steps if row.state is StepState.PARKED)
        incident = f"What is left behind: {left}. Undo it, or mark it as handled."
    new = replace(saga, state=OUTCOME_STATES[outcome], outcome=outcome, incident=incident)
    return Change(new, (), (Event(f"SAGA_{outcome.value}", _words(outcome, definition, steps)),))


def _words(outcome: SagaOutcome, definition: type[Saga], steps: Iterable[StepRow]) -> str:
    match outcome:
        case SagaOutcome.COMPLETED:
            return "Every step is done"
        case SagaOutcome.COMPENSATED:
            return "Everything that was done is undone"
        case SagaOutcome.CANCELLED:
            return "Cancelled, and everything that was done is undone"
        case SagaOutcome.COMPENSATION_FAILED:
            parked = [row.name for row in steps if row.state is StepState.PARKED]
            return f"Not everything could be undone: {', '.join(parked)}"


def is_bare(definition: type[Saga], steps: Sequence[StepRow]) -> bool:
    """Whether there is nothing to undo."""
    return not any(needs_undoing(definition.steps[row.order], row) for row in steps)


# --- parts -------------------------------------------------------------------------------------


def _done(row: StepRow, saga: SagaRow, output: Any, now: datetime, how: str) -> Change:
    new = replace(
        row,
        state=StepState.COMPLETED,
        output=output,
        error=None,
        waits=0,
        started_at=row.started_at or now,
        completed_at=now,
        due_at=None,
        timeout_at=None,
    )
    told = Event("STEP_COMPLETED", f"{row.name} is done{how}", row.name, {"attempt": new.attempt})
    return Change(saga, (new,), (told,), (_ended(new, now),))


def _not_done(
    step: Step,
    row: StepRow,
    saga: SagaRow,
    refused: Refused,
    now: datetime,
    rng: Random,
    *,
    past: bool,
) -> Change:
    again = refused.retry and (past or row.attempt < step.retry.attempts)
    new = replace(
        row,
        state=StepState.PENDING if again else StepState.FAILED,
        error=refused.message,
        waits=0,
        verifications=0,
        due_at=_again(step.retry, max(row.attempt, 1), now, rng) if again else None,
        timeout_at=None,
    )
    told = _event(
        "STEP_RETRIED" if again else "STEP_FAILED", refused.message, new, refused.error_class
    )
    ended = _ended(new, now, refused.error_class, refused.message)
    return Change(saga, (new,), (told,), (ended,))


def _again(retry: Retry, attempt: int, now: datetime, rng: Random) -> datetime:
    return now + timedelta(seconds=retry.backoff.pause(max(attempt, 1), rng))


def _event(
    type_: str, message: str, row: StepRow, error_class: str, attempt: int | None = None
) -> Event:
    payload: dict[str, Any] = {"attempt": attempt or row.attempt, "error_class": error_class}
    if row.due_at is not None:
        payload["again_at"] = row.due_at.isoformat()
    return Event(type_, message, row.name, payload)


def _ended(
    row: StepRow,
    now: datetime,
    error_class: str | None = None,
    message: str | None = None,
    *,
    undoing: bool = False,
) -> Attempt:
    return Attempt(
        step_id=row.id,
        direction=Direction.COMPENSATION if undoing else Direction.FORWARD,
        number=row.compensation_attempts if undoing else row.attempt,
        finished_at=now,
        error_class=error_class,
        error=message,
    )
