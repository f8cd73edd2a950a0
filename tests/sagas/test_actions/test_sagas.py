from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sagas.exceptions import ActionRefused
from sagas.models import Saga as SagaModel
from sagas.services import actions, locks
from sagas.services.start import start
from sagas.states import SagaOutcome, SagaState
from sagas.testing import seen
from tests.sagas.test_actions.kit import WHY, Order, after, called, held, pending, retrying, waiting

pytestmark = pytest.mark.django_db


def test_a_saga_is_turned_back_by_hand() -> None:
    saga = retrying()
    actions.compensate(saga, **WHY)

    ended = after(saga)

    assert ended.outcome is SagaOutcome.COMPENSATED
    assert ended.error == WHY["reason"]
    assert called == ["undo reserve"]


def test_turning_back_undoes_what_waits() -> None:
    saga = waiting()
    actions.compensate(saga, **WHY)

    ended = after(saga)

    assert ended.outcome is SagaOutcome.COMPENSATED
    assert called == ["undo charge", "undo reserve"]


def test_a_cancelled_saga_ends_cancelled() -> None:
    saga = retrying()
    actions.cancel(saga, **WHY)

    ended = after(saga)

    assert (ended.state, ended.outcome) == (SagaState.CANCELLED, SagaOutcome.CANCELLED)
    assert called == ["undo reserve"]


def test_a_saga_that_has_not_begun_is_cancelled_at_once() -> None:
    saga = start(Order.kind, {}, locks=[("order", 7)])
    actions.cancel(saga, **WHY)

    assert seen(saga).outcome is SagaOutcome.CANCELLED
    assert after(saga).outcome is SagaOutcome.CANCELLED
    assert called == []
    assert locks.holder("order", 7) is None


def test_a_second_cancellation_is_refused() -> None:
    saga = retrying()
    actions.cancel(saga, **WHY)

    with pytest.raises(ActionRefused, match="already"):
        actions.cancel(saga, **WHY)


def test_a_paused_saga_rests_whatever_is_due_and_goes_on_when_resumed() -> None:
    saga = retrying()
    actions.pause(saga, **WHY)
    assert after(saga).state is SagaState.IN_PROGRESS
    assert called == []

    actions.resume(saga, **WHY)

    assert after(saga).outcome is SagaOutcome.COMPLETED


def test_a_pending_saga_that_is_paused_does_not_begin() -> None:
    saga = pending()
    actions.pause(saga, **WHY)
    assert after(saga).state is SagaState.PENDING

    actions.resume(saga, **WHY)

    assert after(saga).outcome is SagaOutcome.COMPLETED


def test_a_released_lease_lets_another_runner_have_it() -> None:
    saga = held()
    actions.release_lease(saga, **WHY)

    row = SagaModel.objects.get(pk=saga)
    assert (row.lease_owner, row.lease_epoch) == (None, 8)
    assert after(saga).outcome is SagaOutcome.COMPLETED


def test_a_deadline_is_extended_or_taken_away() -> None:
    saga = retrying()
    until = datetime(2999, 1, 1, tzinfo=UTC)
    actions.extend_deadline(saga, until, **WHY)
    assert SagaModel.objects.get(pk=saga).deadline_at == until

    actions.extend_deadline(saga, None, **WHY)

    assert SagaModel.objects.get(pk=saga).deadline_at is None


def test_the_version_of_a_saga_has_to_be_known_where_its_steps_matter() -> None:
    saga = retrying()
    SagaModel.objects.filter(pk=saga).update(definition_version=9)

    with pytest.raises(ActionRefused, match="version 9 is not registered here"):
        actions.skip_step(saga, "charge", **WHY)
    assert "Paused" in actions.pause(saga, **WHY)
