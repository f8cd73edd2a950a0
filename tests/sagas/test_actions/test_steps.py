from __future__ import annotations

import pytest
from django.utils import timezone

from sagas.definition import (
    Done,
    StepFailed,
)
from sagas.models import SagaStep
from sagas.services import actions
from sagas.states import SagaOutcome, SagaState, StepState
from sagas.testing import run_sagas, seen
from tests.sagas.test_actions.kit import (
    WHY,
    after,
    called,
    failed_past,
    retrying,
    unknown_past,
    unknown_pivot,
    world,
)

pytestmark = pytest.mark.django_db


def test_a_step_is_retried_before_its_time() -> None:
    saga = retrying()
    actions.retry_step(saga, "charge", **WHY)

    world.clear()
    run_sagas()

    assert seen(saga).outcome is SagaOutcome.COMPLETED


def test_a_skipped_step_has_the_given_output_and_is_not_called() -> None:
    saga = retrying()
    actions.skip_step(saga, "charge", {"id": 7}, **WHY)

    ended = after(saga)

    assert ended.outcome is SagaOutcome.COMPLETED
    assert ended.outputs["charge"] == {"id": 7}
    assert ended.steps["charge"] is StepState.SKIPPED
    assert "charge" not in called


def test_a_skipped_step_is_undone_as_if_it_was_done() -> None:
    saga = retrying()
    actions.skip_step(saga, "charge", {"id": 7}, **WHY)

    ended = after(saga, check=StepFailed("no"))

    assert ended.outcome is SagaOutcome.COMPENSATED
    assert "undo charge" in called


def test_an_unknown_pivot_that_was_done_leads_forward() -> None:
    saga = unknown_pivot()
    assert seen(saga).incident is not None
    actions.mark_done(saga, "ship", [1], **WHY)

    ended = after(saga)

    assert ended.outcome is SagaOutcome.COMPLETED
    assert ended.outputs["ship"] == [1]
    assert ended.incident is None


def test_an_unknown_pivot_that_was_not_done_leads_back() -> None:
    saga = unknown_pivot()
    actions.mark_not_done(saga, "ship", **WHY)

    ended = after(saga)

    assert ended.outcome is SagaOutcome.COMPENSATED
    assert ended.steps["ship"] is StepState.FAILED


def test_past_the_pivot_what_was_not_done_is_tried_again() -> None:
    saga = unknown_past()
    actions.mark_not_done(saga, "thank", **WHY)

    ended = after(saga)

    assert ended.outcome is SagaOutcome.COMPLETED
    assert called == ["thank"]


def test_past_the_pivot_it_is_tried_again_also_when_its_time_was_over() -> None:
    saga = unknown_past()
    SagaStep.objects.filter(saga_id=saga, step_name="thank").update(deadline_at=timezone.now())
    assert actions.mark_not_done(saga, "thank", **WHY).endswith("it is tried again")

    assert after(saga).outcome is SagaOutcome.COMPLETED


def test_retrying_an_unknown_step_asks_once_more() -> None:
    saga = unknown_past()
    actions.retry_step(saga, "thank", **WHY)

    ended = after(saga, verify_thank=Done("a card"))

    assert ended.outputs["thank"] == "a card"
    assert called == ["verify thank"]


def test_a_failed_step_past_the_pivot_is_retried() -> None:
    saga = failed_past()
    assert seen(saga).state is SagaState.IN_PROGRESS
    actions.retry_step(saga, "thank", **WHY)

    assert after(saga).outcome is SagaOutcome.COMPLETED
