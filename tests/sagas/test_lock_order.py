"""Sagas that one statement locks are locked in one order: what is still on its way from a lost
connection, and what is sent over the next one, do not wait crosswise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hodei.sessions import connect
from sagas.definition import Saga, Step, StepContext
from sagas.leases import Leases
from sagas.ledger import record
from tests.meeting import made_to_wait, unlocked
from tests.sagas.conftest import Sagas

SAGAS = "SELECT id FROM sagas"


def nothing(_context: StepContext) -> None: ...


class Ordered(Saga):
    kind = "ORDERED"
    steps = (Step("a", nothing),)


@pytest.fixture
def session(sagas: Sagas) -> Iterator[Any]:
    with connect("default", "test of locks") as found:
        yield found


def write(session: Any, leases: Leases, held: Any) -> Any:
    return record(session, leases, held)


def read_again(session: Any, leases: Leases, held: Any) -> Any:
    return leases.reload(session, held)


@pytest.mark.parametrize("do", [write, read_again])
def test_sagas_are_locked_in_their_order(
    sagas: Sagas, session: Any, do: Callable[..., Any]
) -> None:
    for _ in range(4):
        sagas.start(Ordered)
    leases = Leases("me", [Ordered])
    held = sorted(leases.claim(session, 4), key=lambda one: one.saga.id, reverse=True)
    for one in held:
        # Those that come last are stored first.
        sagas.execute("UPDATE sagas SET updated_at = now() WHERE id = %s", [one.saga.id])
    ids = [one.saga.id for one in held]

    with made_to_wait(
        f"{SAGAS} WHERE id = %s FOR UPDATE",
        lambda: do(session, leases, held),
        parameters=[ids[-1]],
    ) as found:
        assert set(unlocked(SAGAS)) == set(ids[:-1])

    assert not isinstance(found[0], Exception)
