from __future__ import annotations

import threading

from django.db import connections, transaction

from sagas import registry
from sagas.definition import (
    Saga,
    Step,
)
from sagas.services import actions
from sagas.states import SagaOutcome, SagaState
from sagas.testing import seen
from tests.processes import eventually
from tests.sagas.conftest import Sagas, running
from tests.sagas.test_runner.kit import WHY, outcome, wait_for_ever
from tests.sagas.world import remote, undo_remote


class Limited(Saga):
    kind = "LIMITED"
    limit = 3
    steps = (Step("a", remote), Step("b", remote))


def test_a_limit_is_never_exceeded(sagas: Sagas) -> None:
    registry.register(Limited)
    with transaction.atomic():
        ids = [sagas.start(Limited) for _ in range(30)]
    stop = threading.Event()
    most: list[int] = []

    def watch() -> None:
        while not stop.is_set():
            most.append(
                sagas.value(
                    "SELECT count(*) FROM sagas WHERE saga_type = 'LIMITED' "
                    "AND state IN ('IN_PROGRESS', 'COMPENSATING')"
                )
            )
        connections.close_all()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with running(*(sagas.runner(drain=False, longest_poll=0.05) for _ in range(2))):
            assert eventually(
                lambda: sagas.value("SELECT count(*) = 0 FROM sagas WHERE outcome IS NULL")
            )
    finally:
        stop.set()
        watcher.join()

    assert max(most) <= 3
    assert {outcome(saga) for saga in ids} == {SagaOutcome.COMPLETED}


def test_a_saga_that_waits_counts_for_the_limit(sagas: Sagas) -> None:
    class One(Saga):
        kind = "ONE"
        limit = 1
        steps = (Step("a", wait_for_ever, undo_remote),)

    first = sagas.start(One)
    second = sagas.start(One)
    sagas.drain()
    assert (seen(first).state, seen(second).state) == (SagaState.IN_PROGRESS, SagaState.PENDING)

    actions.cancel(first, **WHY)
    sagas.drain()

    assert (outcome(first), seen(second).state) == (SagaOutcome.CANCELLED, SagaState.IN_PROGRESS)
