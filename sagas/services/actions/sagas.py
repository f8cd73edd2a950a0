"""Decisions about a saga as a whole."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS

from sagas.exceptions import ActionRefused, SagaInvalid
from sagas.models import SagaLock
from sagas.plan import pivot_of
from sagas.services.actions.deciding import Decision, deciding
from sagas.states import SagaOutcome, SagaState, StepState


def pause(saga: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """It rests at the next border of a step, until ``resume``. Time goes on: a deadline that passes
    meanwhile is met when it is resumed."""
    with deciding(saga, reason, actor, using) as decision:
        decision.require_live()
        if decision.saga.pause_requested_at is not None:
            raise ActionRefused("The saga is paused already.")
        due = {} if decision.held_by is not None else {"due_at": None}
        decision.ask(pause_requested_at=decision.now, **due)
        when = "when the present step is back" if decision.held_by else "now"
        return decision.tell("SAGA_PAUSED", f"Paused: it rests {when}")


def resume(saga: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """Let a paused saga go on."""
    with deciding(saga, reason, actor, using) as decision:
        decision.require_live()
        if decision.saga.pause_requested_at is None:
            raise ActionRefused("The saga is not paused.")
        decision.ask(pause_requested_at=None)
        return decision.tell("SAGA_RESUMED", "Resumed")


def cancel(saga: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """It turns back at the next border of a step, and ends CANCELLED; one that has not begun ends
    at once. A paused one is cancelled when it is resumed."""
    with deciding(saga, reason, actor, using) as decision:
        decision.require_live()
        if decision.saga.state is SagaState.PENDING:
            decision.change_saga(
                state=SagaState.CANCELLED.value,
                outcome=SagaOutcome.CANCELLED.value,
                cancel_requested_at=decision.now,
                completed_at=decision.now,
                due_at=None,
                error_message=decision.reason,
            )
            SagaLock.objects.using(using).filter(saga_id=saga).delete()
            return decision.tell("SAGA_CANCELLED", "Cancelled before its first step")
        _refuse_going_back(decision)
        if decision.saga.cancel_requested_at is not None:
            raise ActionRefused("The saga is being cancelled already.")
        decision.ask(cancel_requested_at=decision.now)
        paused = ", when it is resumed" if decision.saga.pause_requested_at else ""
        return decision.tell("CANCEL_REQUESTED", f"It turns back at the next border{paused}")


def compensate(saga: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """Turn it back from here."""
    with deciding(saga, reason, actor, using) as decision:
        decision.require_live()
        if decision.saga.state is SagaState.PENDING:
            raise ActionRefused("The saga has not begun: cancel it.")
        _refuse_going_back(decision)
        decision.require_free()
        pivot = pivot_of(decision.definition(), decision.steps)
        if pivot is not None and (pivot.state is StepState.UNKNOWN or pivot.waits):
            raise ActionRefused(
                f"Nobody knows whether the pivot {pivot.name} was done. Mark it as not done first."
            )
        decision.change_saga(
            state=SagaState.COMPENSATING.value,
            error_message=decision.reason,
            incident=None,
            due_at=decision.now,
        )
        return decision.tell("COMPENSATION_STARTED", f"Turned back by hand: {decision.reason}")


def extend_deadline(
    saga: uuid.UUID,
    until: datetime | None,
    *,
    reason: str,
    actor: str,
    using: str = DEFAULT_DB_ALIAS,
) -> str:
    """Give it time until then; None: as long as it takes."""
    given: object = until
    if given is not None and (not isinstance(given, datetime) or given.utcoffset() is None):
        raise SagaInvalid(f"until is {given!r}; it is a datetime with a time zone, or None.")
    with deciding(saga, reason, actor, using) as decision:
        decision.require_live()
        if decision.saga.state is SagaState.COMPENSATING:
            raise ActionRefused("The saga turns back already; its deadline means nothing any more.")
        if until is not None and until <= decision.now:
            raise ActionRefused(f"{until.isoformat()} has passed; the time is {decision.now}.")
        decision.ask(deadline_at=until)
        before = decision.saga.deadline_at
        words = "It has no deadline any more" if until is None else f"It has until {until}"
        return decision.tell("DEADLINE_CHANGED", words, before=before and before.isoformat())


def release_lease(
    saga: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> str:
    """Take the saga from its runner, whose writes do nothing from here on, and let another have it.
    What that one is calling now is UNKNOWN then."""
    with deciding(saga, reason, actor, using) as decision:
        decision.require_live()
        if decision.held_by is None:
            raise ActionRefused("No runner has the saga.")
        decision.change_saga(due_at=decision.now)
        return decision.tell("LEASE_RELEASED", f"Taken from {decision.held_by}")


def _refuse_going_back(decision: Decision) -> None:
    if decision.saga.state is SagaState.COMPENSATING:
        raise ActionRefused("The saga turns back already.")
    if decision.is_past_pivot:
        raise ActionRefused(
            "The saga is past its pivot, and only goes forward: retry or skip what keeps it."
        )
