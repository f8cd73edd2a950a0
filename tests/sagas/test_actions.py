"""What people decide: each action where it is allowed, and refused where it is not."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from sagas import registry
from sagas.definition import (
    UNSURE,
    Done,
    Later,
    Retry,
    Saga,
    Step,
    StepContext,
    StepFailed,
    Unknown,
)
from sagas.exceptions import ActionRefused, SagaInvalid, SagaNotFound
from sagas.models import Saga as SagaModel
from sagas.models import SagaAuditEvent, SagaLock, SagaStep
from sagas.services import actions, locks
from sagas.services.start import start
from sagas.states import SagaOutcome, SagaState, StepState
from sagas.testing import Ran, run_sagas, seen

pytestmark = pytest.mark.django_db

WHY: dict[str, Any] = {"reason": "the provider says so", "actor": "ada"}
#: What the steps do in this test, by their names: anything else is done.
world: dict[str, Any] = {}
called: list[str] = []


def act(context: StepContext) -> Any:
    called.append(context.step)
    return _do(context.step)


def undo(context: StepContext) -> None:
    called.append(f"undo {context.step}")
    _do(f"undo {context.step}")


def verify(context: StepContext) -> Any:
    called.append(f"verify {context.step}")
    return world.get(f"verify {context.step}", UNSURE)


def _do(what: str) -> Any:
    told = world.get(what)
    if isinstance(told, Exception):
        raise told
    return told


class Order(Saga):
    kind = "ORDER_ACTED"
    deadline = timedelta(hours=1)
    steps = (
        Step("reserve", act, undo, local=True, retry=Retry(attempts=2)),
        Step("charge", act, undo, retry=Retry(attempts=2), compensation_retry=Retry(attempts=2)),
        Step("check", act, undo, verify=verify, verify_retry=Retry(attempts=2)),
        Step("ship", act, pivot=True),
        Step("thank", act, verify=verify, verify_retry=Retry(attempts=2)),
    )


@pytest.fixture(autouse=True)
def order() -> Iterator[None]:
    world.clear()
    called.clear()
    registry.register(Order)
    yield
    registry.unregister(Order)


def new(later: bool = True, **steps: Any) -> uuid.UUID:
    """A saga that has run as far as it goes in this world."""
    world.update({name.replace("_", " "): told for name, told in steps.items()})
    saga = start(Order.kind, {})
    run_sagas(later=later)
    return saga


def parked() -> uuid.UUID:
    return new(check=StepFailed("no"), undo_charge=StepFailed("no", retry=False))


def unknown_pivot() -> uuid.UUID:
    return new(ship=Unknown("?"))


def unknown_past() -> uuid.UUID:
    return new(thank=Unknown("?"))


def failed_past() -> uuid.UUID:
    return new(thank=StepFailed("no", retry=False))


def retrying() -> uuid.UUID:
    return new(later=False, charge=StepFailed("not yet"))


def waiting() -> uuid.UUID:
    return new(later=False, charge=Later(60))


def undoing() -> uuid.UUID:
    return new(later=False, check=StepFailed("no"), undo_charge=StepFailed("not yet"))


def pending() -> uuid.UUID:
    return start(Order.kind, {})


def completed() -> uuid.UUID:
    return new()


def held() -> uuid.UUID:
    saga = retrying()
    SagaModel.objects.filter(pk=saga).update(
        lease_owner="another", lease_epoch=7, lease_until=timezone.now() + timedelta(minutes=1)
    )
    return saga


def paused() -> uuid.UUID:
    saga = retrying()
    actions.pause(saga, **WHY)
    return saga


ACTIONS: dict[str, Callable[[uuid.UUID], str]] = {
    "pause": lambda saga: actions.pause(saga, **WHY),
    "resume": lambda saga: actions.resume(saga, **WHY),
    "cancel": lambda saga: actions.cancel(saga, **WHY),
    "compensate": lambda saga: actions.compensate(saga, **WHY),
    "extend": lambda saga: actions.extend_deadline(saga, timezone.now() + timedelta(days=1), **WHY),
    "release": lambda saga: actions.release_lease(saga, **WHY),
    "retry charge": lambda saga: actions.retry_step(saga, "charge", **WHY),
    "retry ship": lambda saga: actions.retry_step(saga, "ship", **WHY),
    "retry thank": lambda saga: actions.retry_step(saga, "thank", **WHY),
    "skip charge": lambda saga: actions.skip_step(saga, "charge", {"id": 7}, **WHY),
    "skip thank": lambda saga: actions.skip_step(saga, "thank", **WHY),
    "done ship": lambda saga: actions.mark_done(saga, "ship", [1], **WHY),
    "done thank": lambda saga: actions.mark_done(saga, "thank", **WHY),
    "not done ship": lambda saga: actions.mark_not_done(saga, "ship", **WHY),
    "not done thank": lambda saga: actions.mark_not_done(saga, "thank", **WHY),
    "retry compensation": lambda saga: actions.retry_compensation(saga, **WHY),
    "handled charge": lambda saga: actions.mark_handled(saga, "charge", **WHY),
}
#: In which situation which actions are allowed; all others are refused.
ALLOWED: dict[Callable[[], uuid.UUID], set[str]] = {
    pending: {"pause", "cancel", "extend"},
    retrying: {"pause", "cancel", "compensate", "extend", "retry charge", "skip charge"},
    waiting: {"pause", "cancel", "compensate", "extend", "retry charge", "skip charge"},
    held: {"pause", "cancel", "extend", "release"},
    paused: {"resume", "cancel", "compensate", "extend", "retry charge", "skip charge"},
    undoing: {"pause", "retry charge"},
    parked: {"retry compensation", "handled charge"},
    unknown_pivot: {"pause", "cancel", "extend", "done ship", "not done ship"},
    unknown_past: {"pause", "extend", "retry thank", "skip thank", "done thank", "not done thank"},
    failed_past: {"pause", "extend", "retry thank", "skip thank"},
    completed: set(),
}


@pytest.mark.parametrize("situation", ALLOWED, ids=lambda one: one.__name__)
def test_each_action_in_each_situation(situation: Callable[[], uuid.UUID]) -> None:
    saga = situation()
    before = stored(saga)

    for action, do in ACTIONS.items():
        with transaction.atomic():
            if action in ALLOWED[situation]:
                allow(saga, action, do(saga), before)
            else:
                refuse(saga, action, do, before)
            transaction.set_rollback(True)


def allow(saga: uuid.UUID, action: str, said: str, before: Any) -> None:
    told = SagaAuditEvent.objects.filter(saga_id=saga).order_by("-occurred_at")[0]
    assert told.message == said, action
    assert told.payload["reason"] == WHY["reason"], action
    assert told.payload["actor"] == WHY["actor"], action
    assert stored(saga) != before, action


def refuse(saga: uuid.UUID, action: str, do: Callable[[uuid.UUID], str], before: Any) -> None:
    try:
        do(saga)
    except ActionRefused as refused:
        assert str(refused).endswith("."), action  # noqa: PT017
        assert stored(saga) == before, action
    else:
        raise AssertionError(f"{action} is allowed")


def stored(saga: uuid.UUID) -> Any:
    return (
        list(SagaModel.objects.filter(pk=saga).values()),
        list(SagaStep.objects.filter(saga_id=saga).order_by("step_order").values()),
        SagaAuditEvent.objects.filter(saga_id=saga).count(),
    )


def after(saga: uuid.UUID, **steps: Any) -> Ran:
    """Let it run on, in a world that is different now."""
    world.clear()
    called.clear()
    world.update({name.replace("_", " "): told for name, told in steps.items()})
    run_sagas(later=True)
    return seen(saga)


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


def test_a_lock_stays_while_a_compensation_is_parked() -> None:
    world.update({"check": StepFailed("no"), "undo charge": StepFailed("no", retry=False)})
    saga = start(Order.kind, {}, locks=[("order", 7)])
    run_sagas(later=True)
    assert locks.holder("order", 7) == saga

    actions.mark_handled(saga, "charge", **WHY)
    after(saga)

    assert not SagaLock.objects.exists()


def test_the_version_of_a_saga_has_to_be_known_where_its_steps_matter() -> None:
    saga = retrying()
    SagaModel.objects.filter(pk=saga).update(definition_version=9)

    with pytest.raises(ActionRefused, match="version 9 is not registered here"):
        actions.skip_step(saga, "charge", **WHY)
    assert "Paused" in actions.pause(saga, **WHY)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"reason": ""}, "reason is ''"),
    ({"reason": "  "}, "in words"),
    ({"reason": None}, "reason is None"),
    ({"reason": "x" * 1_001}, "1,001 characters"),
    ({"reason": "a\0b"}, "no NUL"),
    ({"reason": "\ud800"}, "surrogate"),
    ({"actor": ""}, "actor is ''"),
    ({"actor": 7}, "actor is 7"),
]


@pytest.mark.parametrize(("values", "match"), BAD)
def test_a_reason_and_an_actor_are_needed(values: dict[str, Any], match: str) -> None:
    saga = retrying()
    with pytest.raises(SagaInvalid, match=match):
        actions.pause(saga, **{**WHY, **values})


@pytest.mark.parametrize("output", [float("nan"), {1, 2}, "a\0b", "\ud800", b"x", object()])
def test_an_output_has_to_be_json(output: Any) -> None:
    saga = retrying()
    with pytest.raises(SagaInvalid, match="output"):
        actions.skip_step(saga, "charge", output, **WHY)


def test_what_is_not_there() -> None:
    with pytest.raises(SagaNotFound):
        actions.pause(uuid.UUID(int=1), **WHY)
    with pytest.raises(ActionRefused, match="it has reserve, charge"):
        actions.retry_step(retrying(), "no such step", **WHY)
    with pytest.raises(SagaInvalid, match="time zone"):
        actions.extend_deadline(retrying(), datetime(2999, 1, 1), **WHY)  # noqa: DTZ001
    with pytest.raises(ActionRefused, match="has passed"):
        actions.extend_deadline(retrying(), datetime(1999, 1, 1, tzinfo=UTC), **WHY)


def test_an_action_undoes_itself_with_the_callers_transaction() -> None:
    saga = retrying()
    before = stored(saga)
    with transaction.atomic():
        actions.cancel(saga, **WHY)
        transaction.set_rollback(True)

    assert stored(saga) == before
    assert connection.is_usable()
