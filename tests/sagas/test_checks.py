"""Definitions that cannot work are system checks; those that can are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from sagas import registry
from sagas.checks import check_providers, check_sagas
from sagas.definition import Retry, Saga, Step, StepContext, steps_hash
from sagas.problems import problems


def act(_context: StepContext) -> None: ...


async def act_async(_context: StepContext) -> None: ...


def saga(*steps: Any, **values: Any) -> type[Saga]:
    return type("Some", (Saga,), {"kind": "SOME", "steps": list(steps), **values})


A, B, C = Step("a", act), Step("b", act), Step("c", act)

WRONG: list[tuple[type[Saga], int, str]] = [
    (saga(A, kind=""), 1, "kind is ''"),
    (saga(A, kind=7), 1, "kind is 7"),
    (saga(A, kind="x" * 101), 1, "kind is"),
    (type("Nameless", (Saga,), {"steps": [A]}), 1, "kind is None"),
    (saga(A, version=0), 1, "version is 0"),
    (saga(A, version="1"), 1, "version is '1'"),
    (saga(A, version=True), 1, "version is True"),
    (saga(A, limit=0), 1, "limit is 0"),
    (saga(A, deadline=timedelta(0)), 1, "deadline is"),
    (saga(A, deadline=300), 1, "deadline is 300"),
    (saga(A, deadline=timedelta.max), 1, "deadline is datetime.timedelta"),
    (saga(A, limit=2**31), 1, "limit is 2147483648"),
    (saga(A, kind="x\ud800"), 1, "kind is"),
    (saga(Step("x\udfff", act)), 3, "a step is named"),
    (saga(Step("a", act, timeout=timedelta.max)), 8, "timeout of a is"),
    (saga(Step("a", act, retry=Retry(base=None))), 8, "has the pauses None"),  # type: ignore[arg-type]
    (saga(Step("a", act, retry=Retry(cap="9"))), 8, "to '9' s"),  # type: ignore[arg-type]
    (saga(Step("a", act, retry=Retry(base=float("nan")))), 8, "has the pauses nan"),
    (saga(), 2, "steps is []"),
    (saga(A, act), 2, "which is no Step"),
    (saga(A, steps="ab"), 2, "steps is 'ab'"),
    (saga(Step("", act)), 3, "a step is named ''"),
    (saga(Step("x" * 101, act)), 3, "a step is named"),
    (saga(Step(7, act)), 3, "a step is named 7"),  # type: ignore[arg-type]
    (saga(A, B, Step("a", act)), 3, "2 steps are named 'a'"),
    (saga(Step("a", act, pivot=True), Step("b", act, pivot=True)), 4, "2 steps are pivots"),
    (saga(Step("a", act, act, pivot=True)), 4, "is the pivot and has a compensation"),
    (saga(Step("a", act, pivot=True), Step("b", act, act)), 4, "comes after the pivot and has"),
    (saga(Step("a", act, pivot=True, group="g")), 4, "the pivot a is in a group"),
    (saga(Step("a", act, group="g"), B, Step("c", act, group="g")), 5, "interrupted before c"),
    (saga(Step("a", "no.such.module")), 6, "cannot be imported"),
    (saga(Step("a", "tests.sagas.test_checks.nothing_there")), 6, "cannot be imported"),
    (saga(Step("a", "")), 6, "cannot be imported"),
    (saga(Step("a", "tests.sagas.test_checks.A")), 6, "action of a is"),
    (saga(Step("a", act_async)), 6, "is async"),
    (saga(Step("a", act, act_async)), 6, "compensation of a is async"),
    (saga(Step("a", None)), 6, "action of a is None"),  # type: ignore[arg-type]
    (saga(Step("a", act, verify=act, local=True)), 7, "is local and has a verify"),
    (saga(Step("a", act, timeout=timedelta(0))), 8, "timeout of a is"),
    (saga(Step("a", act, timeout=3)), 8, "timeout of a is 3"),  # type: ignore[arg-type]
    (saga(Step("a", act, timeout=None)), 8, "timeout of a is None"),  # type: ignore[arg-type]
    (saga(Step("a", act, total_timeout=-timedelta(1))), 8, "total_timeout of a is"),
    (saga(Step("a", act, retry=Retry(attempts=0))), 8, "has 0 attempts"),
    (saga(Step("a", act, retry=3)), 8, "retry of a is 3"),  # type: ignore[arg-type]
    (saga(Step("a", act, retry=Retry(base=0))), 8, "has the pauses 0"),
    (saga(Step("a", act, retry=Retry(base=9, cap=3))), 8, "has the pauses 9"),
    (saga(Step("a", act, act, compensation_retry=Retry(attempts=-1))), 8, "compensation_retry"),
    (saga(Step("a", act, verify=act, verify_retry=Retry(cap=1e9))), 8, "verify_retry of a has"),
]


@contextmanager
def registered(*definitions: type[Saga]) -> Iterator[None]:
    for definition in definitions:
        registry.register(definition)
    try:
        yield
    finally:
        for definition in definitions:
            registry.unregister(definition)


@pytest.mark.parametrize(("definition", "number", "words"), WRONG)
def test_what_cannot_work(definition: type[Saga], number: int, words: str) -> None:
    found = problems(definition)

    assert [problem.number for problem in found if words in problem.message] == [number]
    assert all(problem.hint.endswith(".") for problem in found)


def test_each_is_a_check_that_names_the_definition() -> None:
    with registered(saga(A, Step("a", act))):
        (found,) = check_sagas()

    assert found.id == "sagas.E003"
    assert found.msg.startswith("tests.sagas.test_checks.Some: ")


@pytest.mark.parametrize(
    "values",
    [{"kind": None}, {"kind": 7}, {"kind": ["x"]}, {"version": "2"}, {"version": None}],
    ids=str,
)
def test_one_that_cannot_be_named_is_told_beside_others(values: dict[str, Any]) -> None:
    named, nameless = saga(A), saga(A, **values)
    registry.register(named)
    registry.register(nameless)
    try:
        (found,) = check_sagas()
        assert found.id == "sagas.E001"
        assert next(iter(values)) in found.msg
        assert registry.definition("SOME") is named
        assert nameless not in registry.definitions()
    finally:
        registry.unregister(nameless)
        registry.unregister(named)
    assert registry.nameless() == ()


def test_two_of_one_kind_and_version() -> None:
    other = type("Other", (Saga,), {"kind": "SOME", "steps": [A]})
    with registered(saga(A), other):
        (found,) = check_sagas()
        assert registry.definition("SOME").__name__ == "Some"

    assert found.id == "sagas.E009"
    assert check_sagas() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["process"], "SAGAS_PROVIDERS is ['process']; it is a dict"),
        ({"custom:x": "no.such.Class"}, "SAGAS_PROVIDERS['custom:x']: 'no.such.Class' cannot be"),
        ({"custom:x": None}, "SAGAS_PROVIDERS['custom:x']: None cannot be used"),
        ({"custom:x": "uuid.UUID"}, "'UUID' has no create, verify, destroy, ping."),
    ],
)
def test_providers_that_cannot_act(settings: Any, given: Any, said: str) -> None:
    settings.SAGAS_PROVIDERS = given

    (found,) = check_providers()

    assert said in found.msg
    assert found.hint
    assert found.id == "sagas.E010"


def test_the_providers_that_are_there_can() -> None:
    assert check_providers() == []


def test_what_works() -> None:
    fine = saga(
        Step("a", act, act, local=True),
        Step("b", "tests.sagas.test_checks.act", act, verify=act, group="g"),
        Step("c", act, act, group="g", total_timeout=timedelta(hours=1)),
        Step("d", act, pivot=True, retry=Retry(attempts=3, unknown=True)),
        Step("e", act, group="h"),
        deadline=timedelta(minutes=1),
        limit=5,
        version=3,
    )

    assert problems(fine) == []


def test_the_hash_changes_with_the_shape_alone() -> None:
    same = steps_hash(saga(A, B))

    assert (
        steps_hash(saga(Step("a", act, timeout=timedelta(1), retry=Retry(attempts=9)), B)) == same
    )
    for other in (
        saga(B, A),
        saga(A),
        saga(A, B, C),
        saga(A, Step("b", act, act)),
        saga(A, Step("b", act, local=True)),
        saga(A, Step("b", act, pivot=True)),
        saga(A, Step("b", act, group="g")),
        saga(A, Step("x", act)),
    ):
        assert steps_hash(other) != same


def test_the_highest_version_is_the_one_that_is_started() -> None:
    first, second = saga(A), saga(A, version=2)
    with registered(second, first):
        assert registry.definition("SOME") is second
        assert registry.definition("SOME", 1) is first
