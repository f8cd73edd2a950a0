"""Steps that return or raise what nobody expects: their saga ends or waits for a person, and others
beside it, driven by the same runner, are none the worse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from sagas.definition import Done, Later, Retry, Saga, Step, StepContext, StepFailed, Unknown
from tests.hostile import JSON, TEXTS, nested
from tests.sagas.conftest import Sagas

ONCE = Retry(attempts=1)


class Unspeakable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError("it cannot be said")


class Namesake(Exception):  # noqa: N818
    pass


Namesake.__qualname__ = "N\0\ud800" + "x" * 1_000


def raising(error: BaseException) -> Callable[[StepContext], Any]:
    def act(_context: StepContext) -> Any:
        raise error

    return act


def returning(value: Any) -> Callable[[StepContext], Any]:
    return lambda _context: value


def later(seconds: Any) -> Callable[[StepContext], Any]:
    def act(_context: StepContext) -> Any:
        raise Later(seconds)

    return act


ACTS: dict[str, Callable[[StepContext], Any]] = {
    **{f"returns {name}": returning(value) for name, value in JSON.items()},
    **{f"says {name}": raising(StepFailed(text)) for name, text in TEXTS.items()},
    "returns an object": returning(object()),
    "returns a coroutine's like": returning(iter([1])),
    "returns 101 lists in each other": returning(nested(101)),
    "raises what cannot be said": raising(Unspeakable()),
    "raises what cannot be named": raising(Namesake("x")),
    "raises with many arguments": raising(ValueError(*range(10_000))),
    "raises a recursion error": raising(RecursionError("deep")),
    "raises a memory error": raising(MemoryError()),
    "raises Unknown": raising(Unknown("a\0")),
    "raises a stop": raising(StopIteration()),
    "waits NaN": later(math.nan),
    "waits for ever": later(math.inf),
    "waits 1e300 s": later(1e300),
    "waits backwards": later(-1e300),
    "waits a text": later("soon"),
    "waits nothing": later(None),
}


def strange(name: str, number: int, local: bool) -> type[Saga]:
    class Strange(Saga):
        kind = f"STRANGE_{number}"
        steps = (
            Step("first", returning("1"), returning(None), local=True),
            Step("strange", ACTS[name], returning(None), local=local, retry=ONCE),
        )

    return Strange


@pytest.mark.parametrize("local", [True, False], ids=["local", "remote"])
def test_a_step(sagas: Sagas, local: bool) -> None:
    """All of them at once, and a plain one beside each."""

    class Plain(Saga):
        kind = "PLAIN_BESIDE"
        steps = (Step("one", returning("1"), local=True), Step("two", returning("2")))

    started, plain = {}, []
    for number, name in enumerate(ACTS):
        started[sagas.start(strange(name, number, local))] = name
        plain.append(sagas.start(Plain))

    sagas.drain()
    sagas.drain()

    outcomes = sagas.rows("SELECT outcome, count(*) FROM sagas WHERE id = ANY(%s) GROUP BY 1",
                          [plain])  # fmt: skip
    assert outcomes == [("COMPLETED", len(ACTS))]
    for saga, state, outcome, incident, due, owner in sagas.rows(
        "SELECT id, state, outcome, incident, due_at, lease_owner FROM sagas WHERE id = ANY(%s)",
        [list(started)],
    ):
        name = started.pop(saga)
        assert owner is None, name
        assert outcome is not None or incident is not None or due is not None, (name, state)
    assert not started


@pytest.mark.parametrize(
    "answer",
    [None, "done", 1, object(), Done(math.nan), Done("a\0"), Done(nested(500)), Done(object())],
)
def test_an_answer_of_a_verification(sagas: Sagas, answer: Any) -> None:
    class Asked(Saga):
        kind = "ASKED"
        steps = (
            Step(
                "ask",
                raising(Unknown("?")),
                returning(None),
                verify=returning(answer),
                verify_retry=ONCE,
            ),
        )

    saga = sagas.start(Asked)

    sagas.finish(saga)

    outcome, incident = sagas.rows("SELECT outcome, incident FROM sagas WHERE id = %s", [saga])[0]
    assert outcome is not None or incident is not None


@pytest.mark.parametrize("name", ["raises what cannot be said", "waits NaN", "waits for ever"])
def test_a_compensation(sagas: Sagas, name: str) -> None:
    class Undone(Saga):
        kind = "UNDONE"
        steps = (
            Step("one", returning(1), ACTS[name], local=True, compensation_retry=ONCE),
            Step("two", raising(StepFailed("no", retry=False)), local=True),
        )

    saga = sagas.start(Undone)

    sagas.finish(saga)

    outcome, incident = sagas.rows("SELECT outcome, incident FROM sagas WHERE id = %s", [saga])[0]
    assert outcome is not None or incident is not None
