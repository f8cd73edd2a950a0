from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, connections

from sagas.definition import (
    Later,
    Saga,
    Step,
    StepContext,
)
from sagas.local import LONGEST_BATCH
from sagas.services import actions
from sagas.states import SagaOutcome, SagaState, StepState
from sagas.testing import seen
from tests.sagas.conftest import Sagas
from tests.sagas.test_runner.kit import WHY, Plain, outcome
from tests.sagas.world import local, refuse, remote, undo_local, undo_remote


def nothing(_context: StepContext) -> None: ...


def break_the_transaction(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute("INSERT INTO effects (step) VALUES ('broken')")
        with suppress(DatabaseError):
            cursor.execute("SELECT 1/0")


def write_and_raise(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute("INSERT INTO effects (step) VALUES ('raised')")
    raise ValueError("no")


@pytest.mark.parametrize("action", [break_the_transaction, write_and_raise])
def test_what_a_failing_local_step_wrote_is_undone_and_others_are_not(
    sagas: Sagas, action: Any
) -> None:
    class Breaks(Saga):
        kind = "BREAKS"
        steps = (Step("a", local, undo_local, local=True), Step("b", action, local=True))

    broken = sagas.start(Breaks)
    good = [sagas.start(Plain) for _ in range(3)]
    sagas.drain()

    assert outcome(broken) is SagaOutcome.COMPENSATED
    assert [outcome(saga) for saga in good] == [SagaOutcome.COMPLETED] * 3
    assert sagas.value("SELECT count(*) FROM effects WHERE step IN ('broken', 'raised')") == 0
    assert [what for _, what, _ in sagas.effects(broken)] == ["done", "undone"]


def cancel_myself(context: StepContext) -> None:
    """Somebody cancels the saga over another connection while its last step runs."""

    def work() -> None:
        try:
            actions.cancel(context.saga_id, **WHY)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("is_local", [True, False])
def test_a_saga_that_is_cancelled_while_its_last_step_runs_turns_back(
    sagas: Sagas, is_local: bool
) -> None:
    class Last(Saga):
        kind = "LAST"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("b", cancel_myself, undo_local if is_local else undo_remote, local=is_local),
        )

    saga = sagas.start(Last)
    sagas.drain()

    assert outcome(saga) is SagaOutcome.CANCELLED
    assert [(step, what) for step, what, _ in sagas.effects(saga)] == [
        ("a", "done"),
        ("b", "undone"),
        ("a", "undone"),
    ]
    assert ("SAGA_COMPLETED", None) not in seen(saga).events


failures: list[str] = []


def cancel_and_take_long(context: StepContext) -> None:
    local(context)
    if context.input["failures"] > len(failures):
        failures.append("not together with others, nor in a savepoint")
        raise ValueError
    cancel_myself(context)
    with connections[context.using].cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [2 * LONGEST_BATCH])


@pytest.mark.parametrize("number", [0, 2])
def test_a_saga_is_cancelled_between_two_local_steps(sagas: Sagas, number: int) -> None:
    """They share a transaction, and one that takes long ends it: the pivot is not to be done."""

    class Long(Saga):
        kind = "LONG_HERE"
        steps = (
            Step("a", cancel_and_take_long, undo_local, local=True),
            Step("b", local, local=True, pivot=True),
        )

    failures.clear()
    saga = sagas.start(Long, {"failures": number})
    sagas.drain()

    assert outcome(saga) is SagaOutcome.CANCELLED
    assert [(step, what) for step, what, _ in sagas.effects(saga)] == [
        ("a", "done"),
        ("a", "undone"),
    ]


def test_an_unknown_version_is_left_alone(sagas: Sagas) -> None:
    known, newer = sagas.start(Plain), sagas.start(Plain)
    changed = sagas.start(Plain)
    sagas.execute("UPDATE sagas SET definition_version = 2 WHERE id = %s", [newer])
    sagas.execute("UPDATE sagas SET steps_hash = 'another' WHERE id = %s", [changed])
    sagas.drain()

    assert outcome(known) is SagaOutcome.COMPLETED
    assert seen(newer).state is SagaState.PENDING
    assert seen(changed).state is SagaState.PENDING
    assert sagas.value("SELECT max(lease_epoch) FROM sagas WHERE id <> %s", [known]) == 0


def test_two_versions_of_a_kind_run_side_by_side(sagas: Sagas) -> None:
    class First(Saga):
        kind = "VERSIONED"
        steps = (Step("old", remote),)

    class Second(Saga):
        kind = "VERSIONED"
        version = 2
        limit = 2
        steps = (Step("new", remote),)

    old = sagas.start(First)
    new = sagas.start(Second)
    sagas.drain()

    assert (seen(old).steps, seen(new).steps) == (
        {"old": StepState.COMPLETED},
        {"new": StepState.COMPLETED},
    )


def test_nothing_that_is_refused_stays_behind(sagas: Sagas) -> None:
    class Refused(Saga):
        kind = "REFUSED"
        steps = (Step("a", nothing, local=True), Step("b", refuse))

    saga = sagas.start(Refused)
    sagas.drain()

    assert outcome(saga) is SagaOutcome.COMPENSATED
    assert sagas.rows("SELECT lease_owner, lease_until, due_at FROM sagas") == [(None, None, None)]


def test_a_local_compensation_that_waits_is_an_attempt_as_any_other(sagas: Sagas) -> None:
    asked: list[int] = []

    def undo(context: StepContext) -> None:
        asked.append(context.attempt)
        if len(asked) < 3:
            raise Later(0.1)

    class Undoes(Saga):
        kind = "UNDOES"
        steps = (Step("a", local, undo, local=True), Step("b", refuse, local=True))

    saga = sagas.start(Undoes)
    sagas.finish(saga)

    assert outcome(saga) is SagaOutcome.COMPENSATED
    assert set(asked) == {1}
    assert sagas.rows(
        "SELECT number, finished_at > started_at, error_class FROM saga_step_attempts "
        "WHERE direction = 'COMPENSATION'"
    ) == [(1, True, None)]
