"""What a round of a relay reads, in which order, and how many statements it asks of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from hodei.sessions import connect
from hodei.sql import statement
from outbox.keys import LANES
from outbox.outcomes import DELIVERED, Outcome, rejected
from outbox.relay import Relay
from tests.outbox.conftest import Outbox
from tests.outbox.many import EVENTS, TROUBLED
from tests.outbox.recorder import Recorder


@pytest.fixture
def session(outbox: Outbox) -> Iterator[psycopg.Connection[Any]]:
    """A connection as a relay has it."""
    with connect("default", "test of rounds") as found:
        yield found


def test_with_a_thousand_troubled_aggregates_the_order_is_kept(
    outbox: Outbox, session: psycopg.Connection[Any]
) -> None:
    """A join that hashes the batch, which the planner would choose here, returns the events of
    an aggregate backwards."""
    outbox.execute(EVENTS, [1_000, "PENDING", 20_000])
    outbox.execute(TROUBLED, [1_000])
    outbox.execute("ANALYZE outbox_events, outbox_keys")

    rows = session.execute(
        statement("outbox", "fetch"),
        {"destination": "default", "lanes": list(range(LANES)), "per_lane": 100, "most": 5_000},
    ).fetchall()

    assert len(rows) == 5_000
    of_lanes: dict[int, list[int]] = {}
    for row in rows:
        of_lanes.setdefault(row[11], []).append(row[1])
    assert all(found == sorted(found) for found in of_lanes.values())


class Counting:
    """A session that remembers the statements of a relay by their names."""

    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self._session = session
        self.names: list[str] = []

    def execute(self, sql: str, parameters: Any = None) -> Any:
        self.names.append(_name_of(sql))
        return self._session.execute(sql, parameters)

    def cursor(self) -> Any:
        return _CountingCursor(self._session.cursor(), self.names)

    def transaction(self) -> Any:
        return self._session.transaction()


class _CountingCursor:
    def __init__(self, cursor: Any, names: list[str]) -> None:
        self._cursor = cursor
        self._names = names

    def __enter__(self) -> _CountingCursor:
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()

    def stream(self, sql: str, parameters: Any, **options: Any) -> Any:
        self._names.append(_name_of(sql))
        return self._cursor.stream(sql, parameters, **options)


NAMES = (
    *("acknowledge", "claim_lanes", "drop_keys", "fetch", "hold_behind", "hold_events"),
    *("hold_lanes", "let_go", "make_lanes", "next_due", "release_lanes", "retry_later"),
    *("settled_heads", "wake_heads"),
)


def _name_of(sql: str) -> str:
    found = [name for name in NAMES if statement("outbox", name) == sql]
    return found[0] if found else sql


class TestStatements:
    """What one round of a relay asks of the server, however many events it moves."""

    BEGIN = ["make_lanes", "claim_lanes", "settled_heads"]
    END = ["fetch", "release_lanes"]

    def rounds(
        self, outbox: Outbox, session: psycopg.Connection[Any], judge: Any = None
    ) -> list[str]:
        counting = Counting(session)
        relay: Relay = outbox.relay(Recorder(judge))
        relay.drain(counting)
        assert counting.names[:3] == self.BEGIN
        return counting.names[3:]

    @pytest.mark.parametrize("number", [1, 1_000])
    def test_what_is_delivered_costs_two(
        self, outbox: Outbox, session: psycopg.Connection[Any], number: int
    ) -> None:
        outbox.execute(EVENTS, [200, "PENDING", number])

        names = self.rounds(outbox, session)

        # Once, at the beginning, it looks for retry times as well.
        assert names == ["wake_heads", "next_due", "fetch", "acknowledge", *self.END]

    def test_nothing_costs_one(self, outbox: Outbox, session: psycopg.Connection[Any]) -> None:
        assert self.rounds(outbox, session) == ["wake_heads", "next_due", *self.END]

    def test_what_is_rejected_costs_a_transaction_of_two_more(
        self, outbox: Outbox, session: psycopg.Connection[Any]
    ) -> None:
        outbox.execute(EVENTS, [200, "PENDING", 400])

        def judge(event: Any) -> Outcome:
            return rejected("x", "y") if event.payload["n"] <= 10 else DELIVERED

        names = self.rounds(outbox, session, judge)

        assert names[:7] == [
            *("wake_heads", "next_due", "fetch", "acknowledge"),
            *("hold_lanes", "retry_later", "hold_events"),
        ]
        assert names[7:] in (self.END, [*("wake_heads", "next_due"), *self.END])
