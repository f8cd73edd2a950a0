"""The kit for those who define sagas, as the documentation shows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sagas import registry
from sagas.definition import NOT_DONE, Done, Later, Retry, Saga, Step, StepContext, Unknown, Verdict
from sagas.states import SagaOutcome, SagaState, StepState
from sagas.testing import advance, crash_everywhere, run_saga, run_sagas, seen

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]

#: The other system of these sagas.
there: dict[str, str] = {}


def charge(context: StepContext) -> str:
    there.setdefault(context.key, "charged")
    return context.key


def refund(context: StepContext) -> None:
    if context.key in there:
        there[context.key] = "refunded"


def find_charge(context: StepContext) -> Verdict:
    return Done(context.key) if context.key in there else NOT_DONE


def fine(_context: StepContext) -> None: ...


class Bought(Saga):
    kind = "BOUGHT"
    steps = (
        Step("reserve", fine, fine, local=True),
        Step("charge", charge, refund, verify=find_charge, retry=Retry(attempts=2)),
        Step("ship", fine, pivot=True, retry=Retry(attempts=3, unknown=True)),
    )


@pytest.fixture(autouse=True)
def bought() -> Iterator[None]:
    there.clear()
    registry.register(Bought)
    yield
    registry.unregister(Bought)


def test_it_is_shipped() -> None:
    ended = run_saga("BOUGHT", {"item": 7})

    assert ended.outcome == "COMPLETED"
    assert list(there.values()) == ["charged"]


def test_nothing_is_left_of_one_that_cannot_be_shipped() -> None:
    for ended in crash_everywhere("BOUGHT", {"item": 7}, failing="ship", prepare=there.clear):
        assert ended.outcome == "COMPENSATED", ended.crashed_at
        assert set(there.values()) <= {"refunded"}, ended.crashed_at


def test_wherever_it_crashes_it_is_shipped_and_charged_once() -> None:
    points = []
    for ended in crash_everywhere("BOUGHT", {"item": 7}, prepare=there.clear):
        points.append(ended.crashed_at)
        assert ended.outcome is SagaOutcome.COMPLETED, ended.crashed_at
        assert list(there.values()) == ["charged"], ended.crashed_at

    assert {"before action charge", "after action charge", "before write", "after commit"} <= {
        *points
    }
    assert len(points) > 15


def test_time_passes_only_where_it_is_told_to() -> None:
    calls: list[int] = []

    def wait(context: StepContext) -> str:
        calls.append(context.attempt)
        if len(calls) < 3:
            raise Later(600)
        return "there"

    class Waiting(Saga):
        kind = "WAITING"
        deadline = timedelta(hours=1)
        steps = (Step("wait", wait, fine),)

    registry.register(Waiting)
    try:
        ran = run_saga("WAITING", later=False)
        assert (ran.state, ran.steps["wait"]) == (SagaState.IN_PROGRESS, StepState.PENDING)
        run_sagas()
        assert len(calls) == 1
        advance(timedelta(minutes=11))
        run_sagas()
        assert len(calls) == 2
        run_sagas(later=True)
    finally:
        registry.unregister(Waiting)

    assert seen(ran.id).outputs == {"wait": "there"}
    assert calls == [1, 1, 1], "one attempt"


def test_a_deadline_passes() -> None:
    def wait(_context: StepContext) -> None:
        raise Later(60)

    class Slow(Saga):
        kind = "SLOW_ONE"
        deadline = timedelta(minutes=30)
        steps = (Step("reserve", fine, fine, local=True), Step("wait", wait, fine))

    registry.register(Slow)
    try:
        ended = run_saga("SLOW_ONE")
    finally:
        registry.unregister(Slow)

    assert ended.outcome is SagaOutcome.COMPENSATED
    assert ended.error == "Its deadline has passed."


def test_a_step_that_is_not_there_cannot_fail() -> None:
    with pytest.raises(AssertionError, match="it has reserve, charge, ship"):
        run_saga("BOUGHT", failing="deliver")


def test_a_saga_that_waits_for_a_person_ends_the_run() -> None:
    class Odd(Saga):
        kind = "ODD"
        steps = (Step("go", lose, pivot=True),)

    registry.register(Odd)
    try:
        ran = run_saga("ODD")
    finally:
        registry.unregister(Odd)

    assert ran.state is SagaState.IN_PROGRESS
    assert "Nobody knows whether go was done" in (ran.incident or "")


def lose(_context: StepContext) -> None:
    raise Unknown("the line went dead")


def test_the_test_of_the_documentation_has_ten_lines() -> None:
    """That it passes is seen where every tutorial is followed."""
    page = (ROOT / "docs/tutorial/sagas.md").read_text(encoding="utf-8")
    test = page[page.index("class OrderTests") :]

    assert "crash_everywhere" in test
    assert test.index("    $ python manage.py test") > 0
    assert len([line for line in test.split("    $ ")[0].splitlines() if line.strip()]) <= 10
