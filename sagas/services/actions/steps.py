"""Decisions about one step of a saga."""

from __future__ import annotations

import uuid
from random import Random
from typing import Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, transaction

from sagas.definition import NOT_DONE
from sagas.exceptions import ActionRefused
from sagas.services.actions import rules
from sagas.services.actions.deciding import Decision, deciding, stored_output
from sagas.settle import At, end_verification
from sagas.states import SagaState, StepState


def retry_step(
    saga: uuid.UUID, step: str, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> str:
    """Try it now: what waits for its time, what has failed and cannot go back, and what nobody
    could be asked about any more."""
    with deciding(saga, reason, actor, using) as decision:
        row = rules.may_retry_step(decision, step)
        values: dict[str, Any] = {}
        if row.state is not StepState.COMPENSATING:
            values["deadline_at"] = None
        if row.state is StepState.FAILED:
            values["state"] = StepState.PENDING.value
        if row.state is StepState.UNKNOWN:
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
        row = rules.may_skip_step(decision, step)
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
        row = rules.may_mark_done(decision, step)
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
        row = rules.may_mark_not_done(decision, step)
        definition = decision.definition_of(row)
        at = At(decision.now, Random(), decision.is_past_pivot)  # noqa: S311  (spreads load)
        (new,) = end_verification(definition, row, decision.saga, NOT_DONE, at).steps
        # Past the pivot it may be unknown since its time was over, and has it anew.
        time = {"deadline_at": None} if decision.is_past_pivot else {}
        decision.change_step(
            row,
            state=new.state.value,
            waits=new.waits,
            verifications=new.verifications,
            due_at=new.due_at,
            **time,
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
        rows = rules.may_retry_compensation(decision, step)
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
        row = rules.may_mark_handled(decision, step)
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
    """Let a runner undo what is to be undone, and end the saga. Raises ActionRefused where another
    saga has its key meanwhile: of those that live there is one."""
    try:
        with transaction.atomic(using=decision.using):
            decision.change_saga(
                state=SagaState.COMPENSATING.value,
                outcome=None,
                completed_at=None,
                incident=None,
                due_at=decision.now,
            )
    except IntegrityError as error:
        raise ActionRefused(
            "It would live again, and another saga has its key meanwhile. Decide about it when "
            "that one has ended."
        ) from error
