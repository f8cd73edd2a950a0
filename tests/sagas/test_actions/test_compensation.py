from __future__ import annotations

import pytest

from sagas.definition import (
    StepFailed,
)
from sagas.exceptions import ActionRefused
from sagas.models import SagaLock
from sagas.services import actions, locks
from sagas.services.start import start
from sagas.states import SagaOutcome, SagaState, StepState
from sagas.testing import run_sagas, seen
from tests.sagas.test_actions.kit import ACTIONS, WHY, Order, after, called, new, parked, world

pytestmark = pytest.mark.django_db


def test_a_parked_compensation_is_retried_and_the_saga_ends_compensated() -> None:
    saga = parked()
    ran = seen(saga)
    assert (ran.state, ran.outcome) == (SagaState.FAILED, SagaOutcome.COMPENSATION_FAILED)
    assert ran.steps["reserve"] is StepState.COMPENSATED, "the independent ones went on"
    actions.retry_compensation(saga, **WHY)

    ended = after(saga)

    assert (ended.state, ended.outcome) == (SagaState.COMPLETED, SagaOutcome.COMPENSATED)
    assert called == ["undo charge"]
    assert ended.incident is None


def test_what_another_saga_has_the_key_of_does_not_live_again_beside_it() -> None:
    world.update({"check": StepFailed("no"), "undo charge": StepFailed("no", retry=False)})
    saga = start(Order.kind, {}, key="order 7")
    run_sagas(later=True)
    world.clear()
    other = start(Order.kind, {}, key="order 7")
    assert other != saga

    for decide in (ACTIONS["retry compensation"], ACTIONS["handled charge"]):
        with pytest.raises(ActionRefused, match="another saga has its key meanwhile"):
            decide(saga)
        assert seen(saga).outcome is SagaOutcome.COMPENSATION_FAILED
        assert seen(saga).steps["charge"] is StepState.PARKED
    run_sagas(later=True)
    ACTIONS["retry compensation"](saga)
    run_sagas(later=True)

    assert seen(other).outcome is SagaOutcome.COMPLETED
    assert seen(saga).outcome is SagaOutcome.COMPENSATED


def test_a_compensation_that_fails_again_is_parked_again() -> None:
    saga = parked()
    actions.retry_compensation(saga, "charge", **WHY)

    ended = after(saga, undo_charge=StepFailed("still not"))

    assert ended.outcome is SagaOutcome.COMPENSATION_FAILED
    assert called == ["undo charge"]


def test_what_was_undone_by_hand_ends_the_saga() -> None:
    saga = parked()
    actions.mark_handled(saga, "charge", **WHY)

    ended = after(saga)

    assert ended.outcome is SagaOutcome.COMPENSATED
    assert called == []


def test_of_two_parked_ones_the_last_that_is_handled_ends_the_saga() -> None:
    saga = new(
        check=StepFailed("no"),
        undo_charge=StepFailed("no", retry=False),
        undo_reserve=StepFailed("no", retry=False),
    )
    actions.mark_handled(saga, "charge", **WHY)
    assert seen(saga).outcome is SagaOutcome.COMPENSATION_FAILED
    assert "reserve" in (seen(saga).incident or "")

    actions.mark_handled(saga, "reserve", **WHY)

    assert after(saga).outcome is SagaOutcome.COMPENSATED


def test_a_lock_stays_while_a_compensation_is_parked() -> None:
    world.update({"check": StepFailed("no"), "undo charge": StepFailed("no", retry=False)})
    saga = start(Order.kind, {}, locks=[("order", 7)])
    run_sagas(later=True)
    assert locks.holder("order", 7) == saga

    actions.mark_handled(saga, "charge", **WHY)
    after(saga)

    assert not SagaLock.objects.exists()
