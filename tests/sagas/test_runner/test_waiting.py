from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from sagas import registry
from sagas.definition import (
    Later,
    Saga,
    Step,
    StepContext,
)
from sagas.pipe import Pipe
from sagas.runner import GATHER
from sagas.services.start import start_many
from sagas.states import SagaOutcome
from tests.processes import eventually
from tests.sagas.conftest import Sagas, running
from tests.sagas.test_runner.kit import Plain, is_asleep, outcome
from tests.sagas.world import local, undo_remote


def test_a_runner_that_sleeps_is_woken_by_a_start(sagas: Sagas) -> None:
    """With polling every hour only the notification can wake it."""
    registry.register(Plain)
    with running(sagas.runner(drain=False, longest_poll=3_600.0)) as _:
        assert eventually(lambda: is_asleep(sagas))
        saga = sagas.start(Plain)
        assert eventually(lambda: outcome(saga) is SagaOutcome.COMPLETED)


def test_a_start_that_is_rolled_back_is_no_start(sagas: Sagas) -> None:
    with transaction.atomic():
        sagas.start(Plain)
        transaction.set_rollback(True)

    assert sagas.drain().counts.claimed == 0


class Told(Pipe):
    """Keeps for how long it was to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, session: Any, seconds: float) -> None:
        self.waits.append(seconds)
        super().wait(session, seconds)


@pytest.mark.parametrize(("number", "gathers"), [(1, False), (2, True), (19, True), (20, False)])
def test_more_sagas_are_gathered_where_few_were_due(
    sagas: Sagas, number: int, gathers: bool
) -> None:
    """After one alone nobody waits: whoever started it may start the next when it has ended."""

    class Quick(Saga):
        kind = "QUICK"
        steps = (Step("a", local, local=True),)

    registry.register(Quick)
    ids = start_many("QUICK", [{}] * number)
    runner = sagas.runner(drain=False)
    runner._pipe.close()
    runner._pipe = told = Told()

    with running(runner):
        assert eventually(lambda: all(outcome(one) for one in ids))
        assert eventually(lambda: is_asleep(sagas))

    assert (GATHER in told.waits) is gathers
    assert runner.counts.claimed == number


def wait_once(context: StepContext) -> str:
    if context.outputs["a"] not in waited:
        waited.append(context.outputs["a"])
        raise Later(0.2)
    return "there"


waited: list[str] = []


def test_a_step_that_waits_holds_no_lease_and_goes_on_when_it_is_time(sagas: Sagas) -> None:
    waited.clear()

    class Waits(Saga):
        kind = "WAITS"
        steps = (Step("a", local, local=True), Step("b", wait_once, undo_remote))

    saga = sagas.start(Waits)
    sagas.drain()
    assert sagas.rows("SELECT lease_owner, state FROM sagas") == [(None, "IN_PROGRESS")]
    assert sagas.step(saga, "b") == "PENDING"
    assert sagas.step(saga, "b", "waits") == 1

    with running(sagas.runner(drain=False)):
        assert eventually(lambda: outcome(saga) is SagaOutcome.COMPLETED)
    assert sagas.rows("SELECT number FROM saga_step_attempts JOIN saga_steps s ON s.id = step_id "
                      "WHERE step_name = 'b'") == [(1,)]  # fmt: skip
