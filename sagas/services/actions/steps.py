"""Decisions about one step of a saga."""

from __future__ import annotations

import uuid
from random import Random
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from sagas.definition import NOT_DONE
from sagas.exceptions import ActionRefused
from sagas.plan import stages
from sagas.records import StepRow
from sagas.services.actions.deciding import Decision, deciding, refuse_state, stored_output
from sagas.settle import At, end_verification
from sagas.states import SagaState, StepState

_UNKNOWN = frozenset({StepState.UNKNOWN})
_PARKED = frozenset({StepState.PARKED})
_SKIPPED = frozenset({StepState.PENDING, StepState.FAILED, StepState.UNKNOWN})
_RETRIED = frozenset(
    {StepState.PENDING, StepState.FAILED, StepState.UNKNOWN, StepState.COMPENSATING}
)


def retry_step(
    saga: uuid.UUID, step: str, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> str:
    """Try it now: what waits for its time, what has failed and cannot go back, and what nobody
    could be asked about any more."""
    with deciding(saga, reason, actor, using) as decision:
        decision.require_live()
        decision.require_free()
        row = decision.step(step)
        refuse_state(row, _RETRIED, "retried; a PARKED one by retry-compensation")
        definition = decision.definition_of(row)
        values: dict[str, Any] = {"deadline_at": None}
        if row.state is StepState.COMPENSATING:
            values = {}
        elif decision.saga.state is SagaState.COMPENSATING and row.state is not StepState.UNKNOWN:
            raise ActionRefused("The saga turns back, so no action is called.")
        _refuse_ahead(decision, row)
        if row.state is StepState.FAILED:
            values["state"] = StepState.PENDING.value
        if row.state is StepState.UNKNOWN:
            if definition.verify is None:
                raise ActionRefused(
                    f"{step} has no verify to ask. Find out, and mark it as done or not done."
                )
            values["verifications"] = 0
        decision.change_step(row, **values)
        decision.change_saga(incident=None, due_at=decision.now)
        return decision.tell("STEP_RETRIED", f"{step} is tried now", step, state=row.state)


def skip_step(
    saga: uuid.UUID,
    step: str,
    output: Any = None,
    *,
    reason: str,
    actor: str,
    using: str = DEFAULT_DB_ALIAS,
) -> str:
    """Go on as if it had been done with this output. If the saga turns back later, it is
    compensated as one that was done."""
    stored = stored_output(output)
    with deciding(saga, reason, actor, using) as decision:
        decision.require_live()
        if decision.saga.state is SagaState.COMPENSATING:
            raise ActionRefused("The saga turns back; there is nothing ahead to skip.")
        decision.require_free()
        row = decision.step(step)
        refuse_state(row, _SKIPPED, "skipped")
        _refuse_ahead(decision, row)
        decision.change_step(
            row,
            state=StepState.SKIPPED.value,
            output_data=stored,
            completed_at=decision.now,
            waits=0,
        )
        decision.change_saga(incident=None, due_at=decision.now)
        return decision.tell("STEP_SKIPPED", f"{step} is skipped", step, state=row.state)


def mark_done(
    saga: uuid.UUID,
    step: str,
    output: Any = None,
    *,
    reason: str,
    actor: str,
    using: str = DEFAULT_DB_ALIAS,
) -> str:
    """An UNKNOWN step was done, with this output."""
    stored = stored_output(output)
    with deciding(saga, reason, actor, using) as decision:
        row = _unknown(decision, step)
        decision.change_step(
            row,
            state=StepState.COMPLETED.value,
            output_data=stored,
            completed_at=decision.now,
            error_message=None,
            waits=0,
        )
        decision.change_saga(incident=None, due_at=decision.now)
        return decision.tell("STEP_MARKED_DONE", f"{step} was done, says a person", step)


def mark_not_done(
    saga: uuid.UUID, step: str, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> str:
    """An UNKNOWN step was not done: it is tried again, or has failed, as if its verification had
    said so."""
    with deciding(saga, reason, actor, using) as decision:
        row = _unknown(decision, step)
        definition = decision.definition_of(row)
        at = At(decision.now, Random(), decision.is_past_pivot)  # noqa: S311  (spreads load)
        (new,) = end_verification(definition, row, decision.saga, NOT_DONE, at).steps
        decision.change_step(
            row,
            state=new.state.value,
            waits=new.waits,
            verifications=new.verifications,
            due_at=new.due_at,
        )
        decision.change_saga(incident=None, due_at=decision.now)
        then = "it is tried again" if new.state is StepState.PENDING else "it has failed"
        return decision.tell("STEP_MARKED_NOT_DONE", f"{step} was not done, and {then}", step)


def retry_compensation(
    saga: uuid.UUID,
    step: str | None = None,
    *,
    reason: str,
    actor: str,
    using: str = DEFAULT_DB_ALIAS,
) -> str:
    """Call the compensation of a PARKED step once more, or those of all of them."""
    with deciding(saga, reason, actor, using) as decision:
        decision.require_free()
        rows = _parked(decision, step)
        for row in rows:
            decision.change_step(row, state=StepState.COMPENSATING.value)
        _turn_back_again(decision)
        names = ", ".join(row.name for row in rows)
        return decision.tell("COMPENSATION_RETRIED", f"Undone once more: {names}", step)


def mark_handled(
    saga: uuid.UUID, step: str, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> str:
    """A person has undone a PARKED step by hand. With the last one the saga ends as compensated."""
    with deciding(saga, reason, actor, using) as decision:
        decision.require_free()
        (row,) = _parked(decision, step)
        decision.change_step(row, state=StepState.COMPENSATED.value)
        left = [
            other.name
            for other in decision.steps
            if other.state is StepState.PARKED and other.id != row.id
        ]
        if not left:
            _turn_back_again(decision)
        elif not decision.is_live:
            decision.change_saga(incident=f"What is left behind: {', '.join(left)}.")
        return decision.tell("COMPENSATION_HANDLED", f"{step} was undone by hand", step)


def _turn_back_again(decision: Decision) -> None:
    """Let a runner undo what is to be undone, and end the saga."""
    decision.change_saga(
        state=SagaState.COMPENSATING.value,
        outcome=None,
        completed_at=None,
        incident=None,
        due_at=decision.now,
    )


def _unknown(decision: Decision, step: str) -> StepRow:
    decision.require_live()
    decision.require_free()
    row = decision.step(step)
    refuse_state(row, _UNKNOWN, "marked")
    return row


def _parked(decision: Decision, step: str | None) -> list[StepRow]:
    if step is not None:
        row = decision.step(step)
        refuse_state(row, _PARKED, "undone once more, or by hand")
        return [row]
    rows = [row for row in decision.steps if row.state is StepState.PARKED]
    if not rows:
        raise ActionRefused("No step of the saga is PARKED.")
    return rows


def _refuse_ahead(decision: Decision, row: StepRow) -> None:
    """Only what the saga has come to can be tried or skipped."""
    if row.state is not StepState.PENDING:
        return
    done = {StepState.COMPLETED, StepState.SKIPPED}
    for orders in stages(decision.definition()):
        if row.order in orders:
            return
        missing = [
            decision.steps[order] for order in orders if decision.steps[order].state not in done
        ]
        if missing:
            names = ", ".join(step.name for step in missing)
            raise ActionRefused(f"The saga has not come to {row.name} yet: first comes {names}.")
