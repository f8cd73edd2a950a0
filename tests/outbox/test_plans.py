"""By which index the statements that run all the time find their rows.

On a table with a history, as it is in use: a plan that reads the whole table would pass every other
test.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.sessions import connect
from hodei.sql import statement
from outbox.batches import MOST_EVENTS, Fetch, turned
from outbox.keys import LANES
from tests.outbox.conftest import TABLES
from tests.outbox.many import EVENTS, TROUBLED
from tests.plans import Plan
from tests.tables import Tables

HISTORY, PENDING, KEYS, HELD = 20_000, 5_000, 5_000, 5_000
PARKED = uuid.UUID(int=3)
LETTERS = """
    INSERT INTO outbox_dlq (id, original_event_id, aggregate_id, aggregate_type, event_type,
                            payload, error_message, retry_count, original_created_at, destination)
    SELECT gen_random_uuid(), gen_random_uuid(), md5(n::text)::uuid, 'JOB', 'Counted',
           '{}', 'no', 1, now(), 'default'
      FROM generate_series(1, %s) AS s (n);
    INSERT INTO outbox_dlq_actions (dlq_id, action, actor, note)
    SELECT id, 'DIED', 'a relay', 'x' FROM outbox_dlq"""


@pytest.fixture(scope="module")
def used(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """An outbox with a history, with events that wait, with troubled aggregates and dead letters,
    for all tests of this file: they look and change nothing."""
    with django_db_blocker.unblock():
        tables = Tables()
        tables.execute(f"TRUNCATE {TABLES}")
        tables.execute(EVENTS, [1_000, "PUBLISHED", HISTORY])
        tables.execute(EVENTS, [500, "PENDING", PENDING])
        tables.execute(TROUBLED, [KEYS])
        tables.execute(
            "INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, held) "
            "SELECT %s, 'JOB', 'Counted', '{}', true FROM generate_series(1, %s)",
            [PARKED, HELD],
        )
        tables.execute(LETTERS, [HISTORY])
        tables.execute(f"ANALYZE {TABLES}")
        try:
            yield
        finally:
            tables.execute(f"TRUNCATE {TABLES}")
            connections["default"].close()


@pytest.fixture(scope="module")
def session(used: None) -> Iterator[psycopg.Connection[Any]]:
    """A connection as a relay has it."""
    with connect("default", "test of plans") as found:
        yield found


def plan_of(session: psycopg.Connection[Any], name: str, parameters: Any) -> Plan:
    return Plan(session, statement("outbox", name), parameters)


class TestIndexes:
    def test_fetch(self, session: psycopg.Connection[Any]) -> None:
        plan = plan_of(
            session,
            "fetch",
            {"destination": "default", "lanes": list(range(LANES)), "per_lane": 100, "most": 5_000},
        )

        assert plan.indexes_of("outbox_events") == {"outbox_events_pending_idx"}
        assert plan.indexes_of("outbox_keys") == {"outbox_keys_aggregate_key"}
        assert plan.joins == {"Nested Loop"}

    @pytest.mark.parametrize("number", [1, 500])
    def test_acknowledge(self, session: psycopg.Connection[Any], number: int) -> None:
        ids = session.execute(
            "SELECT id FROM outbox_events WHERE status = 'PENDING' LIMIT %s", [number]
        ).fetchall()

        plan = plan_of(
            session,
            "acknowledge",
            {
                "destination": "default",
                "lanes": list(range(LANES)),
                "fences": [1] * LANES,
                "ids": [row[0] for row in ids],
            },
        )

        assert plan.indexes_of("outbox_events") == {"outbox_events_pkey"}

    def test_wake_heads(self, session: psycopg.Connection[Any]) -> None:
        asked = {"destination": "default", "lanes": list(range(LANES))}

        plan = plan_of(session, "wake_heads", asked)

        assert plan.indexes_of("outbox_events") == {"outbox_events_pkey"}
        assert plan.indexes_of("outbox_keys") == {"outbox_keys_due_idx", "outbox_keys_pkey"}

    def test_next_due(self, session: psycopg.Connection[Any]) -> None:
        plan = plan_of(session, "next_due", {"destination": "default", "lanes": list(range(LANES))})

        assert plan.indexes_of("outbox_keys") == {"outbox_keys_due_idx"}

    def test_let_go(self, session: psycopg.Connection[Any]) -> None:
        plan = plan_of(
            session,
            "let_go",
            {"destination": "default", "types": ["JOB"], "aggregates": [PARKED], "most": 1_000},
        )

        assert plan.indexes_of("outbox_events") == {"outbox_events_held_idx"}

    def test_known_keys(self, session: psycopg.Connection[Any]) -> None:
        plan = plan_of(session, "known_keys", {"keys": ["a", "b"]})

        assert plan.indexes_of("outbox_events") == {"outbox_events_idempotency_key_key"}

    @pytest.mark.parametrize(
        "name", ["mark_started", "unmark", "hold_events", "retry_later", "bury"]
    )
    def test_what_becomes_of_some_events(self, session: psycopg.Connection[Any], name: str) -> None:
        rows = session.execute("SELECT id FROM outbox_events WHERE status = 'PENDING' LIMIT 50")
        ids = [row[0] for row in rows.fetchall()]
        texts = ["x"] * len(ids)
        asked: dict[str, Any] = {
            "destination": "default",
            "lanes": list(range(LANES)),
            "fences": [1] * LANES,
            "ids": ids,
            "seconds": [1.0] * len(ids),
            "errors": texts,
            "classes": texts,
            "fingerprints": texts,
            "spent": 1,
            "actor": "me",
        }

        plan = plan_of(session, name, asked)

        assert plan.indexes_of("outbox_events") == {"outbox_events_pkey"}

    def test_what_waits_behind_a_head(self, session: psycopg.Connection[Any]) -> None:
        head = session.execute("SELECT event_id FROM outbox_keys LIMIT 1").fetchone()
        assert head is not None

        for name, asked in (
            ("drop_keys", {"destination": "default", "ids": [head[0]]}),
            ("has_key", {"event_id": head[0]}),
        ):
            plan = plan_of(session, name, asked)
            assert plan.indexes_of("outbox_keys") == {"outbox_keys_event_idx"}, name

    def test_hold_behind(self, session: psycopg.Connection[Any]) -> None:
        asked = {"ids": [uuid.uuid4() for _ in range(20)], "keys": [1, 2, 3]}

        plan = plan_of(session, "hold_behind", asked)

        assert plan.indexes_of("outbox_keys") == {"outbox_keys_pkey"}
        assert "none" not in plan.indexes_of("outbox_events")

    @pytest.mark.parametrize(
        ("name", "tables"),
        [
            ("lock_letters", {"outbox_dlq"}),
            ("lock_events_of_letters", {"outbox_events", "outbox_dlq"}),
            ("newest_actions", {"outbox_dlq_actions"}),
            ("requeue_obstacles", {"outbox_events", "outbox_dlq"}),
            ("requeue_keys", {"outbox_keys", "outbox_dlq"}),
            ("requeue_events", {"outbox_dlq"}),
            ("other_heads", {"outbox_keys", "outbox_dlq"}),
            ("close_letters", {"outbox_dlq"}),
            ("restore_letters", {"outbox_dlq"}),
        ],
    )
    def test_what_a_person_does_with_a_letter(
        self, session: psycopg.Connection[Any], name: str, tables: set[str]
    ) -> None:
        (letter,) = session.execute("SELECT id FROM outbox_dlq LIMIT 1").fetchone() or ()
        asked: dict[str, Any] = {
            "ids": [letter],
            "by": "anna",
            "note": "enough",
            "action": "RESOLVED",
            "batch_id": None,
            "details": None,
        }

        plan = plan_of(session, name, asked)

        for table in tables:
            found = plan.indexes_of(table)
            assert found, table
            assert "none" not in found, table


def test_a_batch_is_in_the_order_of_seq(session: psycopg.Connection[Any]) -> None:
    batch = Fetch("default")(session, range(LANES))

    assert [event.seq for event in batch.events] == sorted(e.seq for e in batch.events)


class TestTurns:
    """A batch has room for the first lanes alone: the others are not forgotten."""

    def test_the_next_batch_begins_behind_the_last_lane(
        self, session: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("outbox.batches.MOST_EVENTS", 500)
        fetch = Fetch("default")
        lanes: list[set[int]] = []

        # Nothing is acknowledged, as if the first lanes were filled as fast as they are read.
        for _ in range(20):
            batch = fetch(session, range(LANES))
            assert len(batch) == 500
            lanes.append(set(batch.lanes))

        assert lanes[0].isdisjoint(lanes[1])
        waiting = {
            row[0]
            for row in session.execute(
                "SELECT DISTINCT lane FROM outbox_events WHERE status = 'PENDING' AND NOT held"
            )
        }
        assert set.union(*lanes) == waiting

    def test_turned(self) -> None:
        assert turned([1, 4, 9], None) == [1, 4, 9]
        assert turned([1, 4, 9], 4) == [9, 1, 4]
        assert turned([1, 4, 9], 5) == [9, 1, 4]
        assert turned([1, 4, 9], 9) == [1, 4, 9]
        assert turned([], 9) == []


def test_a_full_batch_ends_by_itself(
    session: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To stop reading before the end would cancel the statement, over another connection."""
    cancelled: list[int] = []
    monkeypatch.setattr(
        type(session), "_try_cancel", lambda self, **_: cancelled.append(1), raising=True
    )
    monkeypatch.setattr("outbox.batches.MOST_EVENTS", 64)

    assert len(Fetch("default")(session, range(LANES))) == 64
    assert cancelled == []
    assert MOST_EVENTS > 64
