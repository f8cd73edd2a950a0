"""How many statements each service of the sagas asks, for one and for many."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sagas import registry
from sagas.definition import Saga, Step, StepContext, StepFailed, Unknown
from sagas.models import Saga as SagaModel
from sagas.services import actions, locks
from sagas.services.inspection import SagaFilter, detail, find, untaken, without_definition
from sagas.services.retention import Keep, prune
from sagas.services.start import start, start_many
from sagas.testing import run_sagas
from tests.statements import statements

pytestmark = pytest.mark.django_db
WHY: dict[str, Any] = {"reason": "as agreed", "actor": "ada"}
#: What each decision does: it locks the saga and reads its steps, changes the saga, tells the audit
#: and wakes a runner. One about a step changes that, too.
OF_SAGA, OF_STEP = 5, 6

#: What the steps of this name do.
told: dict[str, Exception] = {}


def act(context: StepContext) -> None:
    if context.step in told:
        raise told[context.step]


def undo(context: StepContext) -> None:
    if f"undo {context.step}" in told:
        raise told[f"undo {context.step}"]


class Costly(Saga):
    kind = "COSTLY"
    steps = (
        *(Step(f"step {number}", act, undo) for number in range(12)),
        Step("ship", act, pivot=True),
        Step("thank", act),
    )


@pytest.fixture(autouse=True)
def costly() -> Iterator[None]:
    told.clear()
    registry.register(Costly)
    yield
    registry.unregister(Costly)


def pending() -> uuid.UUID:
    return start("COSTLY")


def paused() -> uuid.UUID:
    saga = pending()
    actions.pause(saga, **WHY)
    return saga


def begun() -> uuid.UUID:
    saga = pending()
    SagaModel.objects.filter(pk=saga).update(state="IN_PROGRESS")
    return saga


def held() -> uuid.UUID:
    saga = begun()
    later = timezone.now() + timedelta(minutes=1)
    SagaModel.objects.filter(pk=saga).update(lease_owner="me", lease_until=later)
    return saga


def ran(**what: Exception) -> Callable[[], uuid.UUID]:
    def run() -> uuid.UUID:
        told.update({name.replace("_", " "): error for name, error in what.items()})
        saga = start("COSTLY")
        run_sagas(later=True)
        return saga

    return run


lost = ran(ship=Unknown("?"))
failed = ran(thank=StepFailed("no", retry=False))
parked = ran(ship=StepFailed("no", retry=False), undo_step_3=StepFailed("no", retry=False))


@pytest.mark.parametrize(
    ("make", "decide", "most"),
    [
        (pending, lambda one: actions.pause(one, **WHY), OF_SAGA),
        (paused, lambda one: actions.resume(one, **WHY), OF_SAGA),
        (begun, lambda one: actions.cancel(one, **WHY), OF_SAGA),
        # It ends at once, and gives up its locks.
        (pending, lambda one: actions.cancel(one, **WHY), OF_SAGA + 1),
        (begun, lambda one: actions.compensate(one, **WHY), OF_SAGA),
        (begun, lambda one: actions.extend_deadline(one, None, **WHY), OF_SAGA),
        (held, lambda one: actions.release_lease(one, **WHY), OF_SAGA),
        (failed, lambda one: actions.retry_step(one, "thank", **WHY), OF_STEP),
        (failed, lambda one: actions.skip_step(one, "thank", **WHY), OF_STEP),
        (lost, lambda one: actions.mark_done(one, "ship", **WHY), OF_STEP),
        (lost, lambda one: actions.mark_not_done(one, "ship", **WHY), OF_STEP),
        (parked, lambda one: actions.retry_compensation(one, **WHY), OF_STEP),
        (parked, lambda one: actions.mark_handled(one, "step 3", **WHY), OF_STEP),
    ],
)
def test_a_decision_asks_as_much_whatever_the_saga_has_behind_it(
    make: Callable[[], uuid.UUID], decide: Callable[[uuid.UUID], str], most: int
) -> None:
    saga = make()

    assert len(statements(lambda: decide(saga))) == most


@pytest.mark.parametrize("number", [1, 20])
def test_a_list_asks_twice_for_any_number(number: int) -> None:
    for saga in start_many("COSTLY", [{}] * number):
        assert len(statements(lambda saga=saga: detail(saga))) == 5  # type: ignore[misc]

    assert len(statements(lambda: find(SagaFilter(live=True), limit=50))) == 2
    assert len(statements(lambda: list(untaken(SagaModel.objects.all())))) == 1
    assert len(statements(lambda: list(without_definition(SagaModel.objects.all())))) == 1


def test_starts_and_locks() -> None:
    assert len(statements(lambda: start("COSTLY"))) == 1
    assert len(statements(lambda: start("COSTLY", key="a"))) == 1
    assert len(statements(lambda: start("COSTLY", key="a"))) == 2
    assert len(statements(lambda: start("COSTLY", locks=[("ORDER", 7), ("ORDER", 8)]))) == 3
    assert len(statements(lambda: start_many("COSTLY", [{}] * 400))) == 1
    saga = start("COSTLY")
    assert len(statements(lambda: locks.acquire(saga, "ORDER", 9))) == 1
    assert len(statements(lambda: locks.acquire(saga, "ORDER", 9))) == 2
    assert len(statements(lambda: locks.holder("ORDER", 9))) == 1
    assert len(statements(lambda: locks.release(saga, "ORDER", 9))) == 1


def ended_long_ago() -> None:
    start_many("COSTLY", [{}] * 25)
    SagaModel.objects.update(
        state="COMPLETED",
        outcome="COMPLETED",
        started_at=timezone.now() - timedelta(days=40),
        completed_at=timezone.now() - timedelta(days=40),
    )


def test_retention_stops_between_batches_and_goes_on() -> None:
    ended_long_ago()
    asked = iter([False, True, True])

    stopped = prune(batch=10, stop=lambda: next(asked))

    assert [(one.what, one.rows) for one in stopped] == [("sagas", 20)]
    assert [one.rows for one in prune(batch=10)] == [5, 0]


def test_retention_asks_three_times_for_each_batch() -> None:
    ended_long_ago()

    asked = statements(lambda: list(prune(Keep(audit=None), batch=10)))

    assert len(asked) == 3 * 3
