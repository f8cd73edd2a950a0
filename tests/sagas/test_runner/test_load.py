from __future__ import annotations

import threading
import uuid
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from django.db import connections, transaction

from sagas import registry
from sagas.definition import (
    NOT_DONE,
    Done,
    Later,
    Retry,
    Saga,
    Step,
    StepContext,
    StepFailed,
    Unknown,
)
from sagas.exceptions import ActionRefused
from sagas.services import actions
from sagas.states import SagaOutcome, StepState
from sagas.testing import seen
from tests.processes import eventually
from tests.sagas.conftest import Sagas, running
from tests.sagas.test_runner.kit import WHY
from tests.sagas.world import local, remote, undo_local, undo_remote

rng = Random(11)


mutex = threading.Lock()


def anything(context: StepContext) -> str:
    """Done, refused or nobody knows, as its key says: so that the plan of the saga is known."""
    with mutex:
        lot = rng.random()
    if lot < 0.06 and look(context) is NOT_DONE:
        raise StepFailed("not today")
    if lot < 0.10:
        remote(context)
        raise Unknown("the line went dead")
    if lot < 0.13:
        raise Unknown("the line was dead")
    if lot < 0.16:
        raise Later(0.01)
    return remote(context)


def undo_anything(context: StepContext) -> None:
    with mutex:
        lot = rng.random()
    if lot < 0.2:
        raise Unknown("the line is dead")
    undo_remote(context)


def look(context: StepContext) -> Any:
    with connections[context.using].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM effects WHERE saga = %s AND step = %s AND what = 'done'",
            [context.saga_id, context.step],
        )
        return Done("found") if cursor.fetchone()[0] else NOT_DONE


QUICKLY = Retry(attempts=3, base=0.001, cap=0.01)


OFTEN = Retry(attempts=20, base=0.001, cap=0.01)


class Wild(Saga):
    kind = "WILD"
    limit = 40
    steps = (
        Step("a", local, undo_local, local=True),
        Step("b", anything, undo_anything, verify=look, retry=QUICKLY, compensation_retry=OFTEN),
        Step("c", anything, undo_anything, group="g", compensation_retry=OFTEN),
        Step("d", anything, undo_anything, group="g", verify=look, compensation_retry=OFTEN),
        Step("e", anything, pivot=True, verify=look, retry=QUICKLY),
        Step("f", anything, verify=look, retry=QUICKLY),
        Step("g", local, local=True),
    )


def load(sagas: Sagas, number: int, seconds: float) -> None:
    """Many sagas with random failures, two runners, and people who pause, resume and cancel."""
    registry.register(Wild)
    ids = []
    for _ in range(0, number, 50):
        with transaction.atomic():
            ids += [sagas.start(Wild) for _ in range(min(50, number))]
    people = Random(5)
    paused: set[uuid.UUID] = set()
    with running(*(sagas.runner(drain=False, longest_poll=0.1) for _ in range(2))):
        for saga in people.sample(ids, len(ids) // 5):
            with suppress(ActionRefused):
                if people.random() < 0.5:
                    actions.cancel(saga, **WHY)
                else:
                    actions.pause(saga, **WHY)
                    paused.add(saga)
        for saga in paused:
            with suppress(ActionRefused):
                actions.resume(saga, **WHY)
        assert eventually(
            lambda: sagas.value("SELECT count(*) = 0 FROM sagas WHERE outcome IS NULL"), seconds
        ), sagas.rows("SELECT state, incident, count(*) FROM sagas GROUP BY 1, 2")
    for saga in ids:
        account(sagas, saga)


def account(sagas: Sagas, saga: uuid.UUID) -> None:
    """Its end is a declared one, and what its steps did fits to it."""
    ran = seen(saga)
    effects = sagas.effects(saga)
    done = Counter(step for step, what, _ in effects if what == "done")
    undone = Counter(step for step, what, _ in effects if what == "undone")
    keys = {step: {key for one, _, key in effects if one == step} for step, _, _ in effects}
    assert all(len(found) == 1 for found in keys.values())
    assert done["a"] <= 1
    assert done["g"] <= 1
    if ran.outcome is SagaOutcome.COMPLETED:
        assert set(ran.steps.values()) == {StepState.COMPLETED}
        assert all(done[name] for name in ran.steps)
        assert not undone
    else:
        assert ran.outcome in {SagaOutcome.COMPENSATED, SagaOutcome.CANCELLED}, ran
        for name in "abcd":
            assert not done[name] or undone[name], (name, ran)
        assert not done["e"]
        assert not done["g"]


def test_two_runners_and_random_failures(sagas: Sagas) -> None:
    load(sagas, 60, 60)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_two_runners_five_thousand_sagas_and_random_failures(sagas: Sagas) -> None:
    load(sagas, 5_000, 900)
