"""Pure: what is written down when a step is begun, and when a call of it came back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeAlias

from sagas.definition import NOT_DONE, Done, Retry, Saga, Step, Verdict
from sagas.plan import Doubt, End, Park, Rest, TurnBack, may_repeat
from sagas.records import Attempt, Change, Event, SagaRow, StepRow, changed
from sagas.states import OUTCOME_STATES, Direction, SagaOutcome, SagaState, StepState

TIMED_OUT = "StepTimeout"
RUNNER_GONE = "RunnerGone"


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


@dataclass(frozen=True, slots=True)
class At:
    """When, by the database's clock; and ``past``: the saga only goes forward, so that attempts are
    no limit. ``rng`` spreads pauses."""

    now: datetime
    rng: Random
    past: bool = False


# --- begins ------------------------------------------------------------------------------------


def begin_action(
    step: Step, row: StepRow, saga: SagaRow, now: datetime, given: Any = None
) -> Change:
    """The intent, which is committed before the action is called. ``given`` is what it gets, where
    that is not kept yet."""
    again = row.waits > 0
    started = row.started_at or now
    deadline = row.deadline_at
    if deadline is None and step.total_timeout is not None:
        # From now on: it has begun long ago if a person lets it try again.
        deadline = now + step.total_timeout
    new = changed(
        row,
        state=StepState.IN_PROGRESS,
        input=row.input if given is None else given,
        started_at=started,
        retry_count=row.retry_count + (0 if row.started_at is None or again else 1),
        verifications=0,
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
    new = changed(
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


def end_action(step: Step, row: StepRow, saga: SagaRow, outcome: Outcome, at: At) -> Change:
    match outcome:
        case Did(output):
            return _done(row, saga, output, at.now, "")
        case Delayed(seconds):
            new = changed(
                row,
                state=StepState.PENDING,
                waits=row.waits + 1,
                due_at=at.now + timedelta(seconds=seconds),
                timeout_at=None,
            )
            told = Event("STEP_WAITS", f"{row.name} waits", row.name)
            return Change(saga, (new,), (told,) if row.waits == 0 else ())
        case Refused():
            return _not_done(step, row, saga, outcome, at)
        case Doubted(message, error_class):
            new = changed(row, state=StepState.UNKNOWN, error=message, timeout_at=None, due_at=None)
            if may_repeat(step, new, past=at.past):
                new = changed(new, due_at=_again(step.retry, new.attempt, at))
            return Change(
                saga,
                (new,),
                (_event("STEP_UNKNOWN", f"Nobody knows: {message}", new, error_class),),
                (_ended(new, at.now, error_class, message),),
            )


def end_verification(
    step: Step, row: StepRow, saga: SagaRow, verdict: Verdict | Doubted, at: At
) -> Change:
    """A Doubted verdict is a verification that did not answer: as UNSURE."""
    if isinstance(verdict, Done):
        return _done(row, saga, verdict.output, at.now, ", as its verification says")
    if verdict is NOT_DONE:
        # Turning back, nothing is tried again.
        retry = saga.state is not SagaState.COMPENSATING
        refused = Refused("Verified: it was not done.", "NotDone", retry=retry)
        return _not_done(step, row, saga, refused, changed(at, past=at.past and retry))
    number = row.verifications + 1
    new = changed(
        row,
        verifications=number,
        due_at=_again(step.verify_retry, number, at),
        timeout_at=None,
    )
    why = verdict.message if isinstance(verdict, Doubted) else "it cannot tell yet"
    return Change(
        saga, (new,), (Event("STEP_UNSURE", f"{row.name}: {why}", row.name, {"asked": number}),)
    )


def end_undoing(step: Step, row: StepRow, saga: SagaRow, outcome: Outcome, at: At) -> Change:
    match outcome:
        case Did(output):
            new = changed(
                row,
                state=StepState.COMPENSATED,
                undone=output,
                waits=0,
                due_at=None,
                timeout_at=None,
            )
            told = Event("STEP_COMPENSATED", f"{row.name} is undone", row.name)
            return Change(saga, (new,), (told,), (_ended(new, at.now, undoing=True),))
        case Delayed(seconds):
            due = at.now + timedelta(seconds=seconds)
            return Change(saga, (changed(row, waits=row.waits + 1, due_at=due, timeout_at=None),))
        case Refused(message, error_class) | Doubted(message, error_class):
            final = isinstance(outcome, Refused) and not outcome.retry
            number = row.compensation_attempts
            if final or number >= step.compensation_retry.attempts:
                new = changed(
                    row,
                    state=StepState.PARKED,
                    error=message,
                    waits=0,
                    due_at=None,
                    timeout_at=None,
                )
                told = _event(
                    "STEP_PARKED", f"Cannot be undone: {message}", new, error_class, number
                )
            else:
                due = _again(step.compensation_retry, number, at)
                new = changed(row, error=message, waits=0, due_at=due, timeout_at=None)
                told = _event("COMPENSATION_RETRIED", message, new, error_class, number)
            ended = _ended(new, at.now, error_class, message, undoing=True)
            return Change(saga, (new,), (told,), (ended,))


def at_once(begun: Change, ended: Change) -> Change:
    """Both as one: of a local step, whose begin nobody sees."""
    begins = {(one.step_id, one.direction, one.number): one for one in begun.attempts}
    attempts = []
    for one in ended.attempts:
        begin = begins.pop((one.step_id, one.direction, one.number), None)
        attempts.append(one if begin is None else changed(one, started_at=begin.started_at))
    # Those that have not ended go on: a compensation that waits for something.
    return changed(ended, attempts=(*begins.values(), *attempts))


def put_off(row: StepRow, begun: StepRow, saga: SagaRow, seconds: float, at: At) -> Change:
    """A local step is to be called later; what it did is undone, so it has not begun. But its time
    has, as ``begun`` has it."""
    due = at.now + timedelta(seconds=seconds)
    return Change(saga, (changed(row, due_at=due, deadline_at=begun.deadline_at),))


# --- what nobody was called for ----------------------------------------------------------------


def doubt(
    definition: type[Saga], steps: Sequence[StepRow], saga: SagaRow, move: Doubt, at: At
) -> Change:
    """Write down that nobody knows of these steps."""
    rows: list[StepRow] = []
    for order in move.orders:
        row = changed(
            steps[order], state=StepState.UNKNOWN, error=move.reason, due_at=None, timeout_at=None
        )
        if may_repeat(definition.steps[order], row, past=False):
            row = changed(row, due_at=_again(definition.steps[order].retry, 1, at))
        rows.append(row)
    return Change(
        saga,
        tuple(rows),
        tuple(
            _event("STEP_UNKNOWN", f"Nobody knows: {move.reason}", row, "Unknown") for row in rows
        ),
    )


def give_up(row: StepRow, saga: SagaRow) -> Change:
    message = row.error or "its time was over before it was done"
    new = changed(row, state=StepState.FAILED, error=message, due_at=None, timeout_at=None)
    told = _event("STEP_FAILED", f"The time for it is over: {message}", new, TIMED_OUT)
    return Change(saga, (new,), (told,))


def park(row: StepRow, saga: SagaRow, move: Park) -> Change:
    """Its calls are counted no more: what else is to be undone begins anew."""
    new = changed(
        row, state=StepState.PARKED, error=move.reason, waits=0, due_at=None, timeout_at=None
    )
    told = _event(
        "STEP_PARKED",
        f"Cannot be undone: {move.reason}",
        new,
        RUNNER_GONE,
        row.compensation_attempts,
    )
    return Change(changed(saga, lost=0), (new,), (told,))


def came_back(change: Change) -> Change:
    """A call came back, whatever it says: it kills no runner."""
    return changed(change, saga=changed(change.saga, lost=0)) if change.saga.lost else change


def turn_back(saga: SagaRow, move: TurnBack) -> Change:
    new = changed(saga, state=SagaState.COMPENSATING, error=move.reason, incident=None, lost=0)
    told = Event("COMPENSATION_STARTED", move.reason, move.step)
    return Change(new, (), (told,))


def rest(saga: SagaRow, move: Rest) -> Change:
    if move.incident is None or move.incident == saga.incident:
        return Change(changed(saga, incident=move.incident))
    return Change(
        changed(saga, incident=move.incident),
        (),
        (Event("SAGA_WAITS_FOR_A_PERSON", move.incident),),
    )


def end(saga: SagaRow, steps: Sequence[StepRow], move: End) -> Change:
    outcome = move.outcome
    left = ", ".join(row.name for row in steps if row.state is StepState.PARKED)
    incident = None
    if outcome is SagaOutcome.COMPENSATION_FAILED:
        incident = f"What is left behind: {left}. Undo it, or mark it as handled."
    new = changed(saga, state=OUTCOME_STATES[outcome], outcome=outcome, incident=incident)
    words = {
        SagaOutcome.COMPLETED: "Every step is done",
        SagaOutcome.COMPENSATED: "Everything that was done is undone",
        SagaOutcome.CANCELLED: "Cancelled, and everything that was done is undone",
        SagaOutcome.COMPENSATION_FAILED: f"Not everything could be undone: {left}",
    }
    return Change(new, (), (Event(f"SAGA_{outcome.value}", words[outcome]),))


# --- parts -------------------------------------------------------------------------------------


def _done(row: StepRow, saga: SagaRow, output: Any, now: datetime, how: str) -> Change:
    new = changed(
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


def _not_done(step: Step, row: StepRow, saga: SagaRow, refused: Refused, at: At) -> Change:
    again = refused.retry and (at.past or row.attempt < step.retry.attempts)
    new = changed(
        row,
        state=StepState.PENDING if again else StepState.FAILED,
        error=refused.message,
        waits=0,
        verifications=0,
        due_at=_again(step.retry, row.attempt, at) if again else None,
        timeout_at=None,
    )
    told = _event(
        "STEP_RETRIED" if again else "STEP_FAILED", refused.message, new, refused.error_class
    )
    ended = _ended(new, at.now, refused.error_class, refused.message)
    return Change(saga, (new,), (told,), (ended,))


def _again(retry: Retry, attempt: int, at: At) -> datetime:
    return at.now + timedelta(seconds=retry.backoff.pause(max(attempt, 1), at.rng))


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
