from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from sagas import calling
from sagas.definition import (
    Done,
    Retry,
    Saga,
    Step,
    StepContext,
    StepFailed,
)
from sagas.services import actions
from sagas.states import SagaOutcome, StepState
from sagas.testing import advance, seen
from tests.processes import eventually
from tests.sagas.conftest import Sagas, running
from tests.sagas.test_runner.kit import WHY, Plain, a_gate, gate, outcome, wait_for_ever
from tests.sagas.world import local, remote, undo_local, undo_remote


def hang(context: StepContext) -> None:
    remote(context)
    gate.wait(30)


def was_done(_context: StepContext) -> Any:
    return Done("found")


def test_a_call_that_does_not_come_back_is_unknown_and_verified(sagas: Sagas) -> None:
    class Hangs(Saga):
        kind = "HANGS"
        steps = (
            Step("b", hang, undo_remote, verify=was_done, timeout=timedelta(seconds=0.2)),
            Step("c", remote),
        )

    saga = sagas.start(Hangs)
    with a_gate(), running(sagas.runner(drain=False, concurrency=1)):
        assert eventually(lambda: outcome(saga) is SagaOutcome.COMPLETED)

    assert seen(saga).outputs["b"] == "found"
    assert ("STEP_UNKNOWN", "b") in seen(saga).events


def test_a_call_that_comes_back_too_late_changes_nothing(sagas: Sagas) -> None:
    class Late(Saga):
        kind = "LATE"
        steps = (Step("b", hang, undo_remote, timeout=timedelta(seconds=0.2)),)

    saga = sagas.start(Late)
    with a_gate() as opened, running(sagas.runner(drain=False)):
        assert eventually(lambda: outcome(saga) is SagaOutcome.COMPENSATED)
        before = seen(saga)
        opened.set()
        # A later saga of the same runner: by then the late one was looked at.
        other = sagas.start(Plain)
        sagas.drain()
        assert eventually(lambda: outcome(other) is SagaOutcome.COMPLETED)
    assert seen(saga) == before


def test_a_runner_whose_calls_do_not_come_back_leaves_sagas_to_others(
    sagas: Sagas, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would keep what it has claimed, and call none of it, for as long as it lives."""
    monkeypatch.setattr(calling, "MOST_ABANDONED", 3)

    class Hangs(Saga):
        kind = "HANGS"
        steps = (Step("b", hang, timeout=timedelta(seconds=0.05)),)

    started = [sagas.start(Hangs) for _ in range(12)]
    live = "SELECT count(*), count(lease_owner) FROM sagas WHERE outcome IS NULL"
    with a_gate() as opened, running(sagas.runner(drain=False, concurrency=1, longest_poll=0.1)):
        assert eventually(lambda: sagas.rows(live) == [(9, 0)])
        assert eventually(lambda: "3 calls have not come back" in caplog.text)
        opened.set()
        assert eventually(lambda: all(outcome(saga) is not None for saga in started))
    assert caplog.text.count("calls have not come back") == 1


def sleep_in_the_server(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute("SELECT pg_sleep(30)")


def test_a_local_step_that_takes_too_long_is_cancelled_and_has_failed(sagas: Sagas) -> None:
    class Slow(Saga):
        kind = "SLOW"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("b", sleep_in_the_server, local=True, timeout=timedelta(seconds=0.2)),
        )

    saga = sagas.start(Slow)
    sagas.drain()

    ran = seen(saga)
    assert ran.outcome is SagaOutcome.COMPENSATED
    assert ran.steps == {"a": StepState.COMPENSATED, "b": StepState.FAILED}
    assert "statement timeout" in (ran.error or "")


def compute(context: StepContext) -> None:
    """Something that asks the server nothing for longer than its session may be idle."""
    local(context)
    time.sleep(1.6)


def test_a_local_step_that_computes_for_too_long_has_failed_too(sagas: Sagas) -> None:
    class Computes(Saga):
        kind = "COMPUTES"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("b", compute, local=True, timeout=timedelta(seconds=0.2)),
        )

    saga, other = sagas.start(Computes), sagas.start(Plain)
    sagas.drain()

    ran = seen(saga)
    assert ran.outcome is SagaOutcome.COMPENSATED
    assert ran.error == "b failed: It took more than 0.2 s."
    assert [(step, what) for step, what, _ in sagas.effects(saga)] == [
        ("a", "done"),
        ("a", "undone"),
    ]
    assert outcome(other) is SagaOutcome.COMPLETED


def test_a_saga_deadline_turns_it_back(sagas: Sagas) -> None:
    class Due(Saga):
        kind = "DUE"
        deadline = timedelta(seconds=1)
        steps = (Step("a", local, undo_local, local=True), Step("b", wait_for_ever, undo_remote))

    saga = sagas.start(Due)
    sagas.drain()
    assert sagas.value("SELECT due_at = deadline_at FROM sagas"), "it rests until its deadline"
    ran = sagas.finish(saga)

    assert ran.outcome is SagaOutcome.COMPENSATED
    assert ran.error == "Its deadline has passed."
    assert [step for step, _, _ in sagas.effects(saga)] == ["a", "b", "a"]


def test_all_attempts_of_a_step_together_have_their_time(sagas: Sagas) -> None:
    class Tries(Saga):
        kind = "TRIES"
        steps = (
            Step("a", local, undo_local, local=True),
            Step(
                "b",
                fail,
                retry=Retry(attempts=1_000, base=3_600, cap=3_600),
                total_timeout=timedelta(hours=10),
            ),
        )

    saga = sagas.start(Tries)
    looks = 0
    while outcome(saga) is None:
        sagas.drain()
        advance(timedelta(hours=1))
        looks += 1
        assert looks < 20

    assert seen(saga).outcome is SagaOutcome.COMPENSATED
    assert seen(saga).steps["b"] is StepState.FAILED
    # A pause is never longer than an hour.
    attempts = sagas.value("SELECT count(*) FROM saga_step_attempts WHERE error_class IS NOT NULL")
    assert attempts == 10


def test_a_local_step_that_waits_has_its_time_too(sagas: Sagas) -> None:
    """What it did is undone each time, but not that it has begun to wait."""

    class Waits(Saga):
        kind = "WAITS_HERE"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("b", wait_for_ever, local=True, total_timeout=timedelta(hours=5, minutes=30)),
        )

    saga = sagas.start(Waits)
    looks = 0
    while outcome(saga) is None:
        assert looks < 20
        sagas.drain()
        advance(timedelta(hours=1))
        looks += 1

    assert looks == 7
    ran = seen(saga)
    assert ran.outcome is SagaOutcome.COMPENSATED
    assert ran.steps == {"a": StepState.COMPENSATED, "b": StepState.FAILED}
    assert ran.error == "b failed: its time was over before it was done"


@pytest.mark.parametrize("is_local", [True, False])
def test_a_step_that_a_person_lets_try_again_has_all_of_its_time(
    sagas: Sagas, is_local: bool
) -> None:
    works: list[bool] = []

    def act(context: StepContext) -> float:
        if not works:
            raise StepFailed("no")
        found: float = sagas.value(
            "SELECT extract(epoch FROM coalesce(timeout_at, deadline_at) - clock_timestamp())"
            "::float8 FROM saga_steps WHERE id = %s", [context.key]
        )  # fmt: skip
        return found

    class Past(Saga):
        kind = "PAST_TIME"
        steps = (
            Step("a", local, local=True, pivot=True),
            Step("b", act, local=is_local, total_timeout=timedelta(hours=1)),
        )

    saga = sagas.start(Past)
    incident = sagas.finish(saga).incident
    assert incident == "The time for b is over, and the saga cannot go back."
    sagas.execute("UPDATE saga_steps SET started_at = started_at - interval '1 day'")
    works.append(True)
    actions.retry_step(saga, "b", **WHY)
    sagas.drain()

    assert outcome(saga) is SagaOutcome.COMPLETED
    left = sagas.step(saga, "b", "deadline_at - clock_timestamp()")
    assert timedelta(minutes=55) < left < timedelta(minutes=60)
    if not is_local:
        assert seen(saga).outputs["b"] > 20, "of the 30 s that a call may take"


def fail(_context: StepContext) -> None:
    raise StepFailed("no")
