"""Leases after the database was away, when it is not known what of a runner's own has arrived; and
calls that come to a thread too late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hodei.sessions import connect
from sagas.calling import Calling
from sagas.definition import Saga, Step, StepContext
from sagas.leases import Leases
from sagas.ledger import record
from sagas.settle import Did
from tests.processes import eventually
from tests.sagas.conftest import Sagas


def nothing(_context: StepContext) -> None: ...


class Leased(Saga):
    kind = "LEASED"
    steps = (Step("a", nothing),)


@pytest.fixture
def session(sagas: Sagas) -> Iterator[Any]:
    with connect("default", "test of leases") as found:
        yield found


def test_what_a_runner_has_sent_does_nothing_once_it_has_read_again(
    sagas: Sagas, session: Any
) -> None:
    """Its answer was lost, and it may still be on its way."""
    sagas.start(Leased)
    leases = Leases("me", [Leased])
    (sent,) = leases.claim(session, 1)
    sent.rests = True

    (read,) = leases.reload(session, [sent])

    assert read.saga.epoch == sent.saga.epoch + 1
    assert record(session, leases, [sent]) == [sent]
    assert sagas.rows("SELECT lease_owner, lease_epoch FROM sagas") == [("me", read.saga.epoch)]
    read.rests = True
    assert record(session, leases, [read]) == []
    assert sagas.value("SELECT lease_owner FROM sagas") is None


@pytest.mark.parametrize("change", ["lease_epoch = lease_epoch + 1", "lease_owner = 'another'"])
def test_what_is_leased_anew_is_not_read_as_ones_own(
    sagas: Sagas, session: Any, change: str
) -> None:
    sagas.start(Leased)
    leases = Leases("me", [Leased])
    held = leases.claim(session, 1)
    sagas.execute(f"UPDATE sagas SET {change}")
    before = sagas.rows("SELECT * FROM sagas")

    assert leases.reload(session, held) == []
    assert sagas.rows("SELECT * FROM sagas") == before


def test_what_a_runner_does_not_know_that_it_has_is_given_back(sagas: Sagas, session: Any) -> None:
    """The answer to its claim was lost; what it knows of it keeps."""
    for _ in range(3):
        sagas.start(Leased)
    known, another = Leases("me", [Leased]), Leases("another", [Leased])
    (held,) = known.claim(session, 1)
    (unknown,) = known.claim(session, 1)
    (others,) = another.claim(session, 1)

    known.release_others(session, [held])

    assert dict(sagas.rows("SELECT id, lease_owner FROM sagas")) == {
        held.saga.id: "me",
        unknown.saga.id: None,
        others.saga.id: "another",
    }
    (again,) = another.claim(session, 1)
    assert again.saga.id == unknown.saga.id
    assert again.saga.lost == 0, "nobody is gone"


@pytest.mark.parametrize(("left", "expected"), [(60.0, Did("done")), (-1.0, None)])
def test_a_call_whose_lease_has_run_out_is_not_made(left: float, expected: Any) -> None:
    """It has waited for a thread so long that another runner may be at it."""
    calls: list[int] = []
    held = SimpleNamespace(valid_until=time.monotonic() + left, saga=SimpleNamespace(id="x"))

    def call() -> Did:
        calls.append(1)
        return Did("done")

    flight: Any = type("Flight", (), {"held": held, "call": staticmethod(call)})()
    calling = Calling(1, lambda: None)
    back: list[Any] = []
    try:
        calling.submit(flight)
        assert eventually(lambda: back.extend(calling.take_back()) or back)
    finally:
        calling.close()

    assert back == [(flight, expected)]
    assert len(calls) == (expected is not None)
