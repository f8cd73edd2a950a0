"""Functions of steps that end the process of their runner, each time: real processes die."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import Any

import pytest

from sagas.definition import NOT_DONE, Retry, Saga, Step, StepContext
from sagas.plan import MOST_LOST
from sagas.runner import Runner, RunnerOptions
from sagas.services import actions
from sagas.states import SagaOutcome, SagaState, StepState
from sagas.testing import seen
from tests.sagas.conftest import Sagas
from tests.sagas.world import (
    in_a_fork,
    local,
    refuse,
    remote,
    run_and_die,
    undo_local,
    undo_remote,
)

WHY: dict[str, Any] = {"reason": "a test", "actor": "test"}
pytestmark = pytest.mark.process


def die(_context: StepContext) -> Any:
    """As a fault in a library would, or the kernel when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def not_done(_context: StepContext) -> Any:
    return NOT_DONE


class Innocent(Saga):
    kind = "INNOCENT"
    steps = (Step("a", local, undo_local, local=True), Step("b", local, undo_local, local=True))


def runners_lost(sagas: Sagas) -> int:
    """Let one runner after the other take over, until nothing is left that waits for a time."""
    lost = 0
    for _ in range(60):
        code = in_a_fork(lambda: Runner(RunnerOptions(drain=True, chores=False)).run())
        assert code in {0, -signal.SIGKILL}
        lost += code != 0
        sagas.expire(most_lost=MOST_LOST)
        waited = sagas.execute("UPDATE saga_steps SET due_at = NULL WHERE due_at IS NOT NULL")
        if waited:
            sagas.execute("UPDATE sagas SET due_at = clock_timestamp() WHERE outcome IS NULL")
        elif code == 0:
            return lost
    raise AssertionError(sagas.rows("SELECT saga_type, state, incident, lost_leases FROM sagas"))


def test_a_local_step_that_kills_its_runner_waits_for_a_person_and_others_go_on(
    sagas: Sagas,
) -> None:
    class Killer(Saga):
        kind = "KILLER"
        steps = (Step("a", local, undo_local, local=True), Step("b", die, local=True))

    first = [sagas.start(Innocent) for _ in range(20)]
    killer = sagas.start(Killer)
    others = first + [sagas.start(Innocent) for _ in range(20)]

    # The first one was not known to be killed by it, and took another step with it.
    assert runners_lost(sagas) == MOST_LOST + 1
    assert [seen(saga).outcome for saga in others] == [SagaOutcome.COMPLETED] * 40
    for saga in others:
        assert [(step, what) for step, what, _ in sagas.effects(saga)] == [
            ("a", "done"),
            ("b", "done"),
        ]
    ran = seen(killer)
    assert (ran.state, ran.steps["b"]) == (SagaState.IN_PROGRESS, StepState.PENDING)
    assert ran.incident == (
        "5 runners in a row were gone before b came back: it may be what kills them. Find out why, "
        "then retry or skip it, or compensate."
    )
    assert ("SAGA_WAITS_FOR_A_PERSON", None) in ran.events


def test_what_a_person_decides_begins_the_count_anew(sagas: Sagas) -> None:
    class Killer(Saga):
        kind = "KILLER"
        steps = (Step("a", local, undo_local, local=True), Step("b", die, local=True))

    retried, skipped, given_up = (sagas.start(Killer) for _ in range(3))
    assert runners_lost(sagas) >= MOST_LOST
    assert sagas.value("SELECT count(*) FROM sagas WHERE incident IS NOT NULL") == 3

    actions.retry_step(retried, "b", **WHY)
    actions.skip_step(skipped, "b", "by hand", **WHY)
    actions.compensate(given_up, **WHY)

    assert runners_lost(sagas) == MOST_LOST
    assert "kills" in (seen(retried).incident or "")
    assert seen(skipped).outcome is SagaOutcome.COMPLETED
    assert seen(given_up).outcome is SagaOutcome.COMPENSATED


@pytest.mark.parametrize("is_local", [True, False])
def test_a_compensation_that_kills_its_runner_is_parked_and_others_go_on(
    sagas: Sagas, is_local: bool
) -> None:
    class Stuck(Saga):
        kind = "STUCK"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("b", local if is_local else remote, die, local=is_local),
            Step("c", remote, undo_remote),
            Step("d", refuse),
        )

    saga = sagas.start(Stuck)

    assert runners_lost(sagas) == MOST_LOST
    ran = seen(saga)
    assert ran.outcome is SagaOutcome.COMPENSATION_FAILED
    assert [ran.steps[name].value for name in "abc"] == ["COMPENSATED", "PARKED", "COMPENSATED"]
    assert sagas.step(saga, "b", "error_message") == (
        "5 runners in a row were gone before it was undone: that may be what kills them."
    )
    actions.mark_handled(saga, "b", **WHY)
    sagas.drain()
    assert seen(saga).outcome is SagaOutcome.COMPENSATED


def test_a_verification_that_kills_its_runner_waits_for_a_person(sagas: Sagas) -> None:
    class Asked(Saga):
        kind = "ASKED"
        steps = (Step("a", local, undo_local, local=True), Step("b", die, undo_remote, verify=die))

    saga = sagas.start(Asked)

    assert runners_lost(sagas) == MOST_LOST
    assert seen(saga).steps["b"] is StepState.UNKNOWN
    assert "b" in (seen(saga).incident or "")
    # Turned back, it is not asked for ever either.
    actions.cancel(saga, **WHY)
    assert runners_lost(sagas) == MOST_LOST
    assert seen(saga).outcome is SagaOutcome.COMPENSATION_FAILED
    assert seen(saga).steps == {"a": StepState.COMPENSATED, "b": StepState.PARKED}


@pytest.mark.parametrize(
    ("verify", "retry"), [(not_done, Retry()), (None, Retry(base=0.001, unknown=True))]
)
def test_a_step_past_the_pivot_that_kills_its_runner_waits_for_a_person(
    sagas: Sagas, verify: Any, retry: Retry
) -> None:
    """There attempts are no limit; and the verification, which comes back each time, is no
    progress of the step."""

    class Past(Saga):
        kind = "PAST"
        steps = (
            Step("a", local, local=True, pivot=True),
            Step("b", die, verify=verify, retry=retry),
        )

    saga = sagas.start(Past)

    assert MOST_LOST <= runners_lost(sagas) <= MOST_LOST + 1
    assert "b" in (seen(saga).incident or "")
    actions.skip_step(saga, "b", **WHY)
    sagas.drain()
    assert seen(saga).outcome is SagaOutcome.COMPLETED


def test_its_deadline_turns_back_one_that_waits_for_a_person(sagas: Sagas) -> None:
    class Killer(Saga):
        kind = "KILLER_DUE"
        deadline = timedelta(hours=1)
        steps = (Step("a", local, undo_local, local=True), Step("b", die, local=True))

    saga = sagas.start(Killer)
    runners_lost(sagas)
    assert sagas.value("SELECT due_at = deadline_at FROM sagas")

    assert sagas.finish(saga).outcome is SagaOutcome.COMPENSATED


def test_a_saga_whose_calls_come_back_is_under_no_suspicion(sagas: Sagas) -> None:
    """Runners that die for other reasons, again and again, are no incident of it."""

    class Long(Saga):
        kind = "LONG_ONE"
        steps = tuple(Step(f"s{n}", remote, undo_remote) for n in range(8))

    saga = sagas.start(Long)
    for _ in range(7):
        # Intent, call and result, each with what is before and after it.
        assert run_and_die(6) == -signal.SIGKILL
        sagas.expire(most_lost=MOST_LOST)
    sagas.drain()

    assert seen(saga).outcome is SagaOutcome.COMPLETED
