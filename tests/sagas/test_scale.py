"""How much of a history is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from hodei.sessions import connect
from tests.sagas.conftest import Sagas
from tests.sagas.history import CLAIM, explain, fill

LIVE = 5_000


@pytest.fixture
def session(sagas: Sagas) -> Iterator[psycopg.Connection[Any]]:
    with connect("default", "test of scale") as found:
        yield found


@pytest.mark.slow
def test_a_claim_reads_as_little_with_a_million_finished_sagas(sagas: Sagas, session: Any) -> None:
    fill(sagas, "IN_PROGRESS", LIVE)
    sagas.execute("VACUUM ANALYZE sagas")
    few = pages(session)
    for _ in range(10):
        fill(sagas, "COMPLETED", 100_000, "COMPLETED")
    sagas.execute("VACUUM ANALYZE sagas")

    many = pages(session)

    assert sagas.value("SELECT count(*) > 1000000 FROM sagas")
    assert many <= few * 1.5 + 20


def pages(session: Any) -> int:
    """How many pages a claim of one saga reads; the claim is undone."""
    found = 0
    with session.transaction() as transaction:
        plan = explain(session, "claim", {**CLAIM, "number": 1}, "ANALYZE, BUFFERS, ")
        found = int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
        raise psycopg.Rollback(transaction)
    return found
