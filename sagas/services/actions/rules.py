"""What stands against each action, asked before it is taken, and by whoever only offers it.

Each raises ActionRefused, with what is allowed instead, and changes nothing. Those about a step
return its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sagas.exceptions import ActionRefused
from sagas.plan import pivot_of, stages
from sagas.records import StepRow
from sagas.services.actions.deciding import Decision, refuse_state
from sagas.states import SagaState, StepState

_UNKNOWN = frozenset({StepState.UNKNOWN})
_PARKED = frozenset({StepState.PARKED})
_SKIPPED = frozenset({StepState.PENDING, StepState.FAILED, StepState.UNKNOWN})
_RETRIED = frozenset(
    {StepState.PENDING, StepState.FAILED, StepState.UNKNOWN, StepState.COMPENSATING}
)


def may_pause(decision: Decision) -> None:
    decision.require_live()
    if decision.saga.pause_requested_at is not None:
        raise ActionRefused("The saga is paused already.")


def may_resume(decision: Decision) -> None:
    decision.require_live()
    if decision.saga.pause_requested_at is None:
        raise ActionRefused("The saga is not paused.")


def may_cancel(decision: Decision) -> None:
    decision.require_live()
    if decision.saga.state is SagaState.PENDING:
        return
    _refuse_going_back(decision)
    if decision.saga.cancel_requested_at is not None:
        raise ActionRefused("The saga is being cancelled already.")


def may_compensate(decision: Decision) -> None:
    decision.require_live()
    if decision.saga.state is SagaState.PENDING:
        raise ActionRefused("The saga has not begun: cancel it.")
    _refuse_going_back(decision)
    decision.require_free()
    pivot = pivot_of(decision.definition(), decision.steps)
    if pivot is not None and pivot.state is StepState.IN_PROGRESS:
        raise ActionRefused(
            f"The pivot {pivot.name} was being called when its runner was gone, and nobody has yet "
            "asked whether it was done. Cancel the saga: a runner asks first, and turns back if "
            "it was not."
        )
    if pivot is not None and (pivot.state is StepState.UNKNOWN or pivot.waits):
        raise ActionRefused(
            f"Nobody knows whether the pivot {pivot.name} was done. Mark it as not done first."
        )


def may_extend_deadline(decision: Decision) -> None:
    decision.require_live()
    if decision.saga.state is SagaState.COMPENSATING:
        raise ActionRefused("The saga turns back already; its deadline means nothing any more.")


def may_release_lease(decision: Decision) -> None:
    decision.require_live()
    if decision.held_by is None:
        raise ActionRefused("No runner has the saga.")


def may_retry_step(decision: Decision, step: str) -> StepRow:
    decision.require_live()
    decision.require_free()
    row = decision.step(step)
    refuse_state(row, _RETRIED, "retried; a PARKED one by retry-compensation")
    definition = decision.definition_of(row)
    going_back = decision.saga.state is SagaState.COMPENSATING
    if going_back and row.state not in {StepState.COMPENSATING, StepState.UNKNOWN}:
        raise ActionRefused("The saga turns back, so no action is called.")
    _refuse_ahead(decision, row)
    if row.state is StepState.UNKNOWN and definition.verify is None:
        raise ActionRefused(
            f"{step} has no verify to ask. Find out, and mark it as done or not done."
        )
    return row


def may_skip_step(decision: Decision, step: str) -> StepRow:
    decision.require_live()
    if decision.saga.state is SagaState.COMPENSATING:
        raise ActionRefused("The saga turns back; there is nothing ahead to skip.")
    decision.require_free()
    row = decision.step(step)
    refuse_state(row, _SKIPPED, "skipped")
    _refuse_ahead(decision, row)
    return row


def may_mark_done(decision: Decision, step: str) -> StepRow:
    decision.require_live()
    decision.require_free()
    row = decision.step(step)
    refuse_state(row, _UNKNOWN, "marked")
    return row


def may_mark_not_done(decision: Decision, step: str) -> StepRow:
    row = may_mark_done(decision, step)
    decision.definition_of(row)
    return row


def may_retry_compensation(decision: Decision, step: str | None = None) -> list[StepRow]:
    """The rows: of one step, or of all that are PARKED."""
    decision.require_free()
    if step is not None:
        return [_parked(decision, step)]
    rows = [row for row in decision.steps if row.state is StepState.PARKED]
    if not rows:
        raise ActionRefused("No step of the saga is PARKED.")
    return rows


def may_mark_handled(decision: Decision, step: str) -> StepRow:
    decision.require_free()
    return _parked(decision, step)


#: What stands against a saga as a whole, and against one of its steps, by the names of the actions.
OF_SAGAS: Mapping[str, Callable[[Decision], object]] = {
    "pause": may_pause,
    "resume": may_resume,
    "cancel": may_cancel,
    "compensate": may_compensate,
    "extend_deadline": may_extend_deadline,
    "release_lease": may_release_lease,
    "retry_compensation": may_retry_compensation,
}
OF_STEPS: Mapping[str, Callable[[Decision, str], object]] = {
    "retry_step": may_retry_step,
    "skip_step": may_skip_step,
    "mark_done": may_mark_done,
    "mark_not_done": may_mark_not_done,
    "retry_compensation": may_retry_compensation,
    "mark_handled": may_mark_handled,
}


def _refuse_going_back(decision: Decision) -> None:
    if decision.saga.state is SagaState.COMPENSATING:
        raise ActionRefused("The saga turns back already.")
    if decision.is_past_pivot:
        raise ActionRefused(
            "The saga is past its pivot, and only goes forward: retry or skip what keeps it."
        )


def _parked(decision: Decision, step: str) -> StepRow:
    row = decision.step(step)
    refuse_state(row, _PARKED, "undone once more, or by hand")
    return row


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
