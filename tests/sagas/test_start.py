"""Start sagas: in the caller's transaction, once for a key, and with nothing that cannot be."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from sagas import registry
from sagas.definition import Saga, Step, StepContext, steps_hash
from sagas.exceptions import ResourceLocked, SagaInvalid
from sagas.models import Saga as SagaModel
from sagas.models import SagaLock, SagaStep
from sagas.registry import SagaNotRegistered
from sagas.services import actions, locks
from sagas.services.start import start, start_many
from sagas.states import SagaOutcome
from sagas.testing import run_saga, run_sagas, seen
from tests.sagas.conftest import Sagas


def nothing(_context: StepContext) -> None: ...


class Small(Saga):
    kind = "SMALL"
    deadline = timedelta(minutes=5)
    steps = (Step("first", nothing, local=True), Step("second", nothing, nothing))


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    registry.register(Small)
    yield
    registry.unregister(Small)


@pytest.mark.django_db
class TestStored:
    def test_everything_is_there_before_anything_runs(self) -> None:
        saga = start("SMALL", {"order": 7}, key="order 7", correlation_id="c", actor="ada")

        row = SagaModel.objects.get(pk=saga)
        assert (row.state, row.definition_version, row.steps_hash) == (
            "PENDING",
            1,
            steps_hash(Small),
        )
        assert row.metadata == {"order": 7}
        assert (row.business_key, row.correlation_id, row.actor) == ("order 7", "c", "ada")
        assert row.deadline_at == row.started_at + timedelta(minutes=5)
        steps = SagaStep.objects.filter(saga_id=saga).order_by("step_order")
        assert [(step.step_name, step.step_order, step.state) for step in steps] == [
            ("first", 0, "PENDING"),
            ("second", 1, "PENDING"),
        ]
        assert seen(saga).events == (("SAGA_STARTED", None),)

    def test_it_is_one_statement(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            start("SMALL", {"order": 7}, key="order 7")

        assert len(captured) == 1

    def test_it_vanishes_with_the_callers_transaction(self) -> None:
        with transaction.atomic():
            start("SMALL")
            transaction.set_rollback(True)

        assert not SagaModel.objects.exists()

    def test_the_same_key_is_the_same_saga_while_it_lives(self) -> None:
        first = start("SMALL", key="a")

        assert start("SMALL", key="a") == first
        assert start("SMALL", key="b") != first
        run_sagas(later=True)
        assert seen(first).outcome is SagaOutcome.COMPLETED
        assert start("SMALL", key="a") != first

    def test_without_a_key_each_is_another_one(self) -> None:
        assert start("SMALL") != start("SMALL")


@pytest.mark.django_db
class TestMany:
    def test_each_input_has_a_saga_in_its_order(self) -> None:
        ids = start_many("SMALL", ({"order": n} for n in range(3)), actor="ada")

        assert [SagaModel.objects.get(pk=saga).metadata for saga in ids] == [
            {"order": 0},
            {"order": 1},
            {"order": 2},
        ]
        assert SagaStep.objects.count() == 6
        run_sagas()
        assert [seen(saga).outcome for saga in ids] == [SagaOutcome.COMPLETED] * 3
        assert {len(seen(saga).steps) for saga in ids} == {2}

    def test_texts_that_mean_something_in_an_array_are_texts(self) -> None:
        odd = ["NULL", "null", '"', "\\", '\\"', "{", "}", ",", " a ", "a\nb", "'", "%s", "ä"]

        class Odd(Saga):
            kind = "ODD_NAMES"
            steps = [Step(f"{text} of {place}", nothing) for place, text in enumerate(odd)]

        registry.register(Odd)
        try:
            ids = start_many("ODD_NAMES", [{text: text} for text in odd], keys=odd)
        finally:
            registry.unregister(Odd)

        rows = [SagaModel.objects.get(pk=saga) for saga in ids]
        assert [(row.metadata, row.business_key) for row in rows] == [
            ({text: text}, text) for text in odd
        ]
        names = SagaStep.objects.filter(saga_id=ids[0]).order_by("step_order")
        assert [step.step_name for step in names] == [step.name for step in Odd.steps]

    def test_a_key_that_is_known_is_its_saga(self) -> None:
        known = start("SMALL", key="a")

        ids = start_many("SMALL", [{}, {}, {}, None], keys=["a", "b", "b", None])

        assert ids[0] == known
        assert ids[1] == ids[2]
        assert SagaModel.objects.count() == 3

    def test_many_are_few_statements(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            ids = start_many("SMALL", [None] * 501)

        assert len(set(ids)) == 501
        assert len([one for one in captured if "sagas_start" in one["sql"]]) == 2

    def test_one_that_cannot_be_is_named_and_none_is_stored(self) -> None:
        inputs: Any = [{}] * 600 + ["text"]
        with pytest.raises(SagaInvalid, match="Saga 600 of this call: input is 'text'"):
            start_many("SMALL", inputs)
        with pytest.raises(SagaInvalid, match="Saga 0 of this call: key is 7"):
            start_many("SMALL", [{}], keys=[7])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="argument 2 is shorter"):
            start_many("SMALL", [{}, {}], keys=["a"])
        assert not SagaModel.objects.exists()


def test_two_transactions_that_start_one_key_get_one_saga(sagas: Sagas) -> None:
    started: list[uuid.UUID] = []
    barrier = threading.Barrier(2)

    def work() -> None:
        try:
            barrier.wait(30)
            with transaction.atomic():
                started.append(start("SMALL", key="a"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(started) == 2
    assert len(set(started)) == 1
    assert sagas.value("SELECT count(*) FROM sagas") == 1


@pytest.mark.django_db
class TestLocks:
    def test_a_resource_has_one_holder(self) -> None:
        first = start("SMALL", locks=[("worker", 7), ("job", "a")])

        with pytest.raises(ResourceLocked, match=f"worker 7 is locked by the saga {first}"):
            start("SMALL", locks=[("job", "b"), ("worker", 7)])
        assert SagaModel.objects.count() == 1, "nothing is stored by halves"
        assert SagaLock.objects.count() == 2
        assert locks.holder("worker", 7) == first
        locks.acquire(first, "worker", 7)

    def test_it_is_released_when_the_saga_ends(self) -> None:
        saga = start("SMALL", locks=[("worker", 7)])
        run_sagas()

        assert seen(saga).outcome is SagaOutcome.COMPLETED
        assert locks.holder("worker", 7) is None

    def test_a_local_step_may_take_it_and_fails_where_another_has_it(self) -> None:
        def take(context: StepContext) -> None:
            locks.acquire(context.saga_id, "worker", context.input["worker"], using=context.using)

        class Takes(Saga):
            kind = "TAKES"
            steps = (Step("take", take, local=True),)

        registry.register(Takes)
        try:
            holder = start("SMALL", locks=[("worker", 7)])
            actions.pause(holder, reason="a test", actor="test")
            ran = run_saga("TAKES", {"worker": 7}, later=False)
        finally:
            registry.unregister(Takes)

        assert ran.outcome is SagaOutcome.COMPENSATED
        assert f"worker 7 is locked by the saga {holder}" in (ran.error or "")

    def test_it_may_be_released_before(self) -> None:
        saga = start("SMALL", locks=[("worker", 7)])

        assert locks.release(saga, "worker", 7)
        assert not locks.release(saga, "worker", 7)

    @pytest.mark.parametrize(
        ("resource_type", "resource_id"),
        [("", 1), ("x" * 51, 1), (7, 1), ("a\0", 1), ("a", ""), ("a", "x" * 256)],
    )
    def test_names_that_cannot_be(self, resource_type: Any, resource_id: Any) -> None:
        with pytest.raises(SagaInvalid):
            start("SMALL", locks=[(resource_type, resource_id)])
        assert not SagaModel.objects.exists()


DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"input": "text"}, "input is 'text'; it is a dict"),
    ({"input": [1]}, "it is a dict"),
    ({"input": {1: 2}}, "whose keys are texts"),
    ({"input": {"a": float("nan")}}, "cannot be JSON"),
    ({"input": {"a": object()}}, "cannot be JSON"),
    ({"input": {"a": "\0"}}, "NUL"),
    ({"input": {"a": "\ud800"}}, "surrogate"),
    ({"input": {"a": "x" * 2**21}}, "bytes"),
    ({"input": {"a": DEEP}}, "cannot be JSON"),
    ({"input": {"_repaired": 1}}, "_repaired"),
    ({"key": ""}, "key is ''"),
    ({"key": "x" * 256}, "1 to 255"),
    ({"key": 7}, "key is 7"),
    ({"key": "a\0"}, "key holds a NUL character"),
    ({"key": "\ud800"}, "surrogate"),
    ({"correlation_id": ""}, "correlation_id is ''"),
    ({"actor": b"x"}, "actor is b'x'"),
    ({"trace_parent": "x"}, "trace_parent is 'x'"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("values", "words"), BAD)
def test_what_cannot_be_is_refused_and_nothing_is_stored(
    values: dict[str, Any], words: str
) -> None:
    with pytest.raises(SagaInvalid) as refused:
        start("SMALL", **values)

    assert words in str(refused.value)
    assert not SagaModel.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["NO_SUCH", "", None, 7, "small"])
def test_a_kind_has_to_be_registered(kind: Any) -> None:
    with pytest.raises(SagaNotRegistered, match="SMALL"):
        start(kind)


@pytest.mark.django_db
def test_a_definition_that_is_wrong_is_not_started() -> None:
    class Wrong(Saga):
        kind = "WRONG"
        steps = ()

    registry.register(Wrong)
    try:
        with pytest.raises(SagaInvalid, match="list of 1 to 200 steps"):
            start("WRONG")
    finally:
        registry.unregister(Wrong)
