"""A runner is killed at every point, and another one goes on: by SIGKILL of a real process."""

from __future__ import annotations

import os
import signal
from collections import Counter
from random import Random
from typing import Any

import pytest

from sagas.definition import Saga, Step, StepContext
from sagas.runner import Runner, RunnerOptions
from sagas.states import SagaOutcome, StepState
from sagas.testing import seen
from tests.processes import eventually
from tests.sagas.conftest import Sagas, running
from tests.sagas.world import Backward, Forward, in_a_fork, local, remote, run_and_die, undo_remote

#: More points than a run has: the first that is not reached ends the test.
MOST_POINTS = 120
SAMPLE = sorted(Random(7).sample(range(34), 5))


def crash_at(sagas: Sagas, definition: type[Saga], number: int) -> bool:
    """Let a runner die there, and another take over; False if there is no such point."""
    saga = sagas.start(definition)
    code = run_and_die(number)
    died = code == -signal.SIGKILL
    assert died or code == 0
    sagas.expire()
    ended = sagas.finish(saga)
    judge(sagas, definition, ended)
    return died


def judge(sagas: Sagas, definition: type[Saga], ended: Any) -> None:
    """Its end is a declared one, and every effect is accounted for."""
    effects = sagas.effects(ended.id)
    done = Counter(step for step, what, _ in effects if what == "done")
    undone = Counter(step for step, what, _ in effects if what == "undone")
    keys: dict[str, set[str]] = {}
    for step, _, key in effects:
        keys.setdefault(step, set()).add(key)
    assert all(len(found) == 1 for found in keys.values()), "one key for each step"
    assert len(set.union(*keys.values(), set())) == len(keys), "and no key for two"
    for step in definition.steps:
        if step.local:
            assert done[step.name] <= 1, f"{step.name} ran twice"
            assert undone[step.name] <= done[step.name]
    if definition is Forward and ended.outcome is SagaOutcome.COMPLETED:
        assert set(ended.steps.values()) == {StepState.COMPLETED}
        assert set(done) == {step.name for step in definition.steps}
        assert not undone
        return
    assert ended.outcome is SagaOutcome.COMPENSATED
    assert definition is Backward
    for step in definition.steps:
        if done[step.name]:
            assert undone[step.name], f"{step.name} was done, and is not undone"
    assert not done["close"]


@pytest.mark.parametrize("number", SAMPLE)
@pytest.mark.parametrize("definition", [Forward, Backward])
def test_killed_at_some_points(sagas: Sagas, definition: type[Saga], number: int) -> None:
    assert crash_at(sagas, definition, number)


@pytest.mark.slow
@pytest.mark.parametrize("definition", [Forward, Backward])
def test_killed_at_every_point(sagas: Sagas, definition: type[Saga]) -> None:
    number = 0
    while crash_at(sagas, definition, number):
        number += 1
        assert number < MOST_POINTS
    assert number > 30


@pytest.mark.slow
@pytest.mark.parametrize("definition", [Forward, Backward])
def test_killed_again_and_again(sagas: Sagas, definition: type[Saga]) -> None:
    """Each runner that takes over dies, too, a few points later."""
    for seed in range(8):
        rng = Random(seed)
        saga = sagas.start(definition)
        for _ in range(6):
            run_and_die(rng.randrange(2, 14))
            sagas.expire()
        judge(sagas, definition, sagas.finish(saga))


def test_another_runner_takes_over_when_the_lease_ends(sagas: Sagas) -> None:
    saga = sagas.start(Forward)
    assert run_and_die(15, lease_seconds=1.0) == -signal.SIGKILL
    assert sagas.value("SELECT lease_owner FROM sagas") is not None

    with running(sagas.runner(drain=False, lease_seconds=1.0)):
        assert eventually(lambda: seen(saga).outcome is SagaOutcome.COMPLETED)


def stop_here(context: StepContext) -> str:
    """Tell that it is here, and be stopped: a zombie in the middle of a step."""
    found = remote(context)
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return found


def stop_here_locally(context: StepContext) -> str:
    found = local(context)
    if context.lease_epoch == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return found


def zombie(sagas: Sagas, definition: type[Saga], **options: Any) -> Any:
    """Let a runner be stopped, another one finish its saga, and the first one go on."""
    saga = sagas.start(definition)
    child = os.fork() if not close_all() else 0
    if child == 0:
        code = in_child(lambda: Runner(RunnerOptions(drain=True, chores=False, **options)).run())
        os._exit(code)
    try:
        _, status = os.waitpid(child, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert sagas.value("SELECT lease_owner FROM sagas") is not None
        sagas.expire()
        ended = sagas.finish(saga)
        before = snapshot(sagas)
    finally:
        os.kill(child, signal.SIGCONT)
        os.waitpid(child, 0)
    assert ended.outcome is SagaOutcome.COMPLETED
    assert snapshot(sagas) == before
    return ended


def close_all() -> bool:
    from django.db import connections

    connections.close_all()
    return False


def in_child(work: Any) -> int:
    try:
        work()
    except BaseException:  # noqa: BLE001  (nothing of pytest is to run here)
        return 1
    return 0


def snapshot(sagas: Sagas) -> list[Any]:
    return [
        sagas.rows(f"SELECT * FROM {table} ORDER BY 1")
        for table in ("sagas", "saga_steps", "saga_step_attempts", "saga_audit_events", "effects")
    ]


class StoppedFarAway(Saga):
    kind = "STOPPED_FAR_AWAY"
    steps = (
        Step("first", stop_here, undo_remote, retry=Forward.steps[2].retry),
        Step("second", local, local=True),
    )


class StoppedHere(Saga):
    kind = "STOPPED_HERE"
    steps = (Step("first", stop_here_locally, local=True), Step("second", local, local=True))


def test_a_zombie_writes_nothing_after_a_remote_step(sagas: Sagas) -> None:
    ended = zombie(sagas, StoppedFarAway)

    assert [step for step, _, _ in sagas.effects(ended.id)] == ["first", "first", "second"]
    assert len({key for step, _, key in sagas.effects(ended.id) if step == "first"}) == 1


def test_a_zombie_writes_nothing_after_a_local_step(sagas: Sagas) -> None:
    ended = zombie(sagas, StoppedHere)

    assert [step for step, _, _ in sagas.effects(ended.id)] == ["first", "second"]


def test_a_fork_says_how_it_ended() -> None:
    assert in_a_fork(lambda: None) == 0
    assert in_a_fork(lambda: 1 / 0) == 1
