"""Decisions about a saga as a whole."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS

from hodei.values import FIRST_YEAR, LAST_YEAR, is_instant, shown
from sagas.exceptions import ActionRefused, SagaInvalid
from sagas.models import SagaLock
from sagas.services.actions import rules
from sagas.services.actions.deciding import deciding
from sagas.states import SagaOutcome, SagaState


def pause(saga: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """It rests at the next border of a step, until ``resume``. Time goes on: a deadline that passes
    meanwhile is met when it is resumed."""
    with deciding(saga, reason, actor, using) as decision:
        rules.may_pause(decision)
        due = {} if decision.held_by is not None else {"due_at": None}
        decision.ask(pause_requested_at=decision.now, **due)
        when = "when the present step is back" if decision.held_by else "now"
        return decision.tell("SAGA_PAUSED", f"Paused: it rests {when}")


def resume(saga: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """Let a paused saga go on."""
    with deciding(saga, reason, actor, using) as decision:
        rules.may_resume(decision)
        decision.ask(pause_requested_at=None)
        return decision.tell("SAGA_RESUMED", "Resumed")


def cancel(saga: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """It turns back at the next border of a step, and ends CANCELLED; one that has not begun ends
    at once. A paused one is cancelled when it is resumed."""
    with deciding(saga, reason, actor, using) as decision:
        rules.may_cancel(decision)
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
        decision.ask(cancel_requested_at=decision.now)
        paused = ", when it is resumed" if decision.saga.pause_requested_at else ""
        return decision.tell("CANCEL_REQUESTED", f"It turns back at the next border{paused}")


def compensate(saga: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """Turn it back from here."""
    with deciding(saga, reason, actor, using) as decision:
        rules.may_compensate(decision)
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
    if given is not None and not is_instant(given):
        raise SagaInvalid(
            f"until is {shown(given)}; it is a datetime with a time zone, between the years "
            f"{FIRST_YEAR} and {LAST_YEAR}, or None."
        )
    with deciding(saga, reason, actor, using) as decision:
        rules.may_extend_deadline(decision)
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
        rules.may_release_lease(decision)
        decision.change_saga(due_at=decision.now)
        return decision.tell("LEASE_RELEASED", f"Taken from {decision.held_by}")
