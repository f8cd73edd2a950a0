"""What is wrong with the transaction of a local step without an error of the step: its saga bears
it, and neither its runner nor others do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from sagas.definition import Retry, Saga, Step, StepContext
from sagas.states import SagaOutcome, StepState
from sagas.testing import seen
from tests.sagas.conftest import Sagas
from tests.sagas.test_runner.kit import Plain, outcome
from tests.sagas.world import local, refuse, undo_local

SOON = Retry(attempts=2, base=0.001, cap=0.002)


def of(name: str, *steps: Step) -> type[Saga]:
    return type(name.title(), (Saga,), {"kind": name, "steps": steps})


@pytest.fixture
def deferred(sagas: Sagas) -> Iterator[None]:
    """A reference that is looked at when the transaction commits, as all of Django's are."""
    sagas.execute(
        "CREATE TABLE parents (id int PRIMARY KEY); CREATE TABLE children "
        "(parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)"
    )
    yield
    sagas.execute("DROP TABLE children, parents")


def add_child(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute("INSERT INTO children VALUES (1)")


def add_parent(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute("INSERT INTO parents VALUES (1)")


def add_both(context: StepContext) -> None:
    add_child(context)
    add_parent(context)


@pytest.mark.usefixtures("deferred")
@pytest.mark.parametrize("after", [0, 1])
def test_a_local_step_whose_commit_is_refused_has_failed(sagas: Sagas, after: int) -> None:
    before = [Step(f"s{n}", local, undo_local, local=True) for n in range(after)]
    saga = sagas.start(of("REFUSED", *before, Step("b", add_child, undo_local, local=True)))
    plain = [sagas.start(Plain) for _ in range(3)]

    sagas.drain()

    assert [outcome(one) for one in plain] == [SagaOutcome.COMPLETED] * 3
    assert outcome(saga) is SagaOutcome.COMPENSATED
    assert seen(saga).steps["b"] is StepState.FAILED
    assert "violates foreign key constraint" in sagas.step(saga, "b", "error_message")
    assert [what for _, what, _ in sagas.effects(saga)] == ["done", "undone"] * after
    assert sagas.value("SELECT count(*) FROM children") == 0


@pytest.mark.usefixtures("deferred")
def test_a_compensation_whose_commit_is_refused_is_parked(sagas: Sagas) -> None:
    saga = sagas.start(
        of(
            "REFUSED",
            Step("a", local, add_child, local=True, compensation_retry=SOON),
            Step("b", refuse, local=True),
        )
    )

    sagas.finish(saga)

    assert outcome(saga) is SagaOutcome.COMPENSATION_FAILED
    assert seen(saga).steps["a"] is StepState.PARKED
    assert sagas.step(saga, "a", "compensation_attempts") == 2


@pytest.mark.usefixtures("deferred")
def test_what_is_whole_at_the_commit_is_kept(sagas: Sagas) -> None:
    saga = sagas.start(of("WHOLE", Step("a", add_both, local=True)))

    sagas.drain()

    assert outcome(saga) is SagaOutcome.COMPLETED
    assert sagas.value("SELECT count(*) FROM children JOIN parents ON id = parent") == 1


def mark_for_rollback(context: StepContext) -> str:
    local(context)
    transaction.set_rollback(True, using=context.using)
    return "done"


def swallow(context: StepContext) -> str:
    """As ``Model.save()`` fails where nobody opened an atomic() for it."""
    local(context)
    with suppress(DatabaseError), transaction.mark_for_rollback_on_error(using=context.using):
        raise DatabaseError("refused before the server was asked")
    return "done"


@pytest.mark.parametrize("action", [mark_for_rollback, swallow])
def test_a_local_step_returns_and_its_transaction_is_to_be_undone(
    sagas: Sagas, action: Any
) -> None:
    """Written down as done, it would be done without what it wrote."""
    saga = sagas.start(of("MARKED", Step("a", action, undo_local, local=True)))
    plain = [sagas.start(Plain) for _ in range(3)]

    sagas.drain()

    assert [outcome(one) for one in plain] == [SagaOutcome.COMPLETED] * 3
    assert seen(saga).steps == {"a": StepState.FAILED}
    assert "atomic()" in sagas.step(saga, "a", "error_message")
    assert sagas.effects(saga) == []
