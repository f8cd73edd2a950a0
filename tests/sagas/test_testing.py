"""The kit for those who define sagas, as the documentation shows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import TestCase

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


@pytest.mark.parametrize("seconds", [-1, 0, 0.05])
def test_a_wait_that_is_too_short_is_as_short_as_can_be(seconds: float) -> None:
    calls: list[int] = []

    def wait(context: StepContext) -> None:
        calls.append(context.attempt)
        if len(calls) == 1:
            raise Later(seconds)

    class Odd(Saga):
        kind = "ODD_WAIT"
        steps = (Step("wait", wait, fine), Step("here", fine, local=True))

    registry.register(Odd)
    try:
        ended = run_saga("ODD_WAIT")
    finally:
        registry.unregister(Odd)

    assert ended.outcome is SagaOutcome.COMPLETED
    assert calls == [1, 1]


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


def write_down(context: StepContext) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_session VALUES (%s, 'x', now())", [context.key])


def break_it(_context: StepContext) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


class Written(Saga):
    kind = "WRITTEN"
    steps = (
        Step("write", write_down, fine, local=True),
        Step("charge", charge, refund, verify=find_charge),
        Step("ship", fine, pivot=True, retry=Retry(attempts=3, unknown=True)),
    )


class Broken(Written):
    kind = "BROKEN"
    steps = (*Written.steps[:2], Step("break", break_it, fine, local=True))


class OrderTests(TestCase):
    """As somebody writes them who uses Django's own runner; local steps use its connection, even
    one whose statement fails."""

    def setUp(self) -> None:
        there.clear()
        for one in (Written, Broken):
            registry.register(one)
            self.addCleanup(registry.unregister, one)

    def written(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM django_session")
            return int(cursor.fetchone()[0])

    def test_it_is_shipped(self) -> None:
        assert run_saga("WRITTEN").outcome == "COMPLETED"
        assert self.written() == 1

    def test_nothing_is_left_wherever_it_crashes(self) -> None:
        for ended in crash_everywhere("WRITTEN", failing="ship", prepare=there.clear):
            assert ended.outcome == "COMPENSATED", ended.crashed_at
        assert self.written() == 0

    def test_a_statement_that_fails_turns_it_back_and_the_test_goes_on(self) -> None:
        ended = run_saga("BROKEN")
        assert ended.outcome == "COMPENSATED"
        assert "division by zero" in (ended.error or "")
        assert self.written() == 1
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("0",)
