"""How much waits, for how long and why, and what it costs to ask."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.db import connection

from hodei.sql import statement
from outbox.outcomes import down, rejected
from outbox.services import inspection
from outbox.services.inspection import MOST_COUNTED, Count, Statistics, rate, statistics
from outbox.states import BreakerState
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, refusing

#: 20,000 events that were published, one of a hundred in the last minute.
HISTORY = """
INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, status, published_at)
SELECT gen_random_uuid(), 'JOB', 'Counted', '{}', 'PUBLISHED',
       now() - interval '1 day' + (n %% %(share)s = 0)::int * interval '1 day'
  FROM generate_series(1, %(number)s) AS s (n)
"""


def destination(found: Statistics, name: str = "default") -> inspection.DestinationState:
    (one,) = (one for one in found.destinations if one.name == name)
    return one


class TestPending:
    def test_of_an_empty_outbox(self, inside: Outbox) -> None:
        found = statistics()

        assert found.pending == found.ready == found.held == Count(0, is_capped=False)
        assert found.oldest_pending_at is found.oldest_pending_seconds is None
        assert found.published_per_second == 0
        assert [one.name for one in found.destinations] == ["default"]
        one = destination(found)
        assert (one.lag_seconds, one.leased, one.breaker, one.relays) == (None, 0, None, [])
        assert (one.in_backoff, one.parked, len(one.lanes)) == (0, 0, 64)

    def test_what_can_be_sent_and_what_is_held_back(self, inside: Outbox) -> None:
        die(inside, JOB, 1, 2, 3)
        inside.publish(OTHER, 4)

        found = statistics()

        assert (found.ready.number, found.held.number, found.pending.number) == (1, 2, 3)

    def test_defect_b10_the_oldest_is_the_oldest_in_whatever_order_they_came(
        self, inside: Outbox
    ) -> None:
        """The original took the least of the ages. Nor is it the first by number: a transaction
        that began long ago may have written last."""
        inside.execute(
            "INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, "
            "created_at, status, published_at) VALUES "
            "(%(id)s, 'JOB', 'A', '{}', now() - interval '1 s', 'PENDING', NULL), "
            "(%(id)s, 'JOB', 'A', '{}', now() - interval '1 h', 'PENDING', NULL), "
            "(%(id)s, 'JOB', 'A', '{}', now() - interval '9 h', 'PUBLISHED', now()), "
            "(%(id)s, 'JOB', 'A', '{}', now() - interval '1 min', 'PENDING', NULL)",
            {"id": JOB},
        )

        assert 3_600 <= (statistics().oldest_pending_seconds or 0) < 3_900

    def test_one_that_is_held_may_be_the_oldest(self, inside: Outbox) -> None:
        die(inside, JOB, 1, 2)
        inside.publish(OTHER, 3)
        inside.execute("UPDATE outbox_events SET created_at = now() - interval '2 h' WHERE held")

        found = statistics()

        assert 7_200 <= (found.oldest_pending_seconds or 0) < 7_500
        assert (destination(found).lag_seconds or 0) < 300

    def test_counts_are_capped(self, inside: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inspection, "MOST_COUNTED", 5)
        inside.publish(JOB, *range(4))
        assert statistics().pending == Count(4, is_capped=False)
        inside.publish(OTHER, *range(4))

        assert statistics().pending == Count(5, is_capped=True)

    def test_counts_read_as_numbers(self) -> None:
        assert str(Count(12_000, is_capped=False)) == "12,000"
        assert str(Count(10_000, is_capped=True)) == "10,000+"


class TestRate:
    @pytest.mark.parametrize(
        ("number", "seconds", "found"),
        [
            (0, None, 0.0),
            (60, 59.0, 1.0),
            (MOST_COUNTED, 2.0, MOST_COUNTED / 2),
            (MOST_COUNTED, 0.0, MOST_COUNTED / 60),
        ],
    )
    def test_of_a_minute_or_of_the_newest(
        self, number: int, seconds: float | None, found: float
    ) -> None:
        assert rate(number, seconds) == found

    def test_only_the_last_minute_counts(self, inside: Outbox) -> None:
        inside.execute(HISTORY, {"number": 300, "share": 10})

        assert statistics().published_per_second == 30 / 60


class TestDestinations:
    def test_each_lane_by_what_is_next_in_it(self, inside: Outbox) -> None:
        inside.publish(uuid.UUID(int=3), 1)
        inside.execute("UPDATE outbox_events SET created_at = now() - interval '1 h'")
        inside.publish(uuid.UUID(int=3), 2)
        inside.publish(uuid.UUID(int=5), 3)

        one = destination(statistics())

        lags = {lane.lane: lane.lag_seconds for lane in one.lanes if lane.lag_seconds is not None}
        assert set(lags) == {3, 5}
        assert 3_600 <= lags[3] < 3_900
        assert lags[5] < 300
        assert one.lag_seconds == lags[3]

    def test_those_that_nobody_knows_are_found(self, inside: Outbox, settings: Any) -> None:
        publisher = {"PUBLISHER": "outbox.publishers.console.ConsolePublisher"}
        settings.HODEI_OUTBOX = {"DESTINATIONS": {"idle": publisher}}
        for place, name in enumerate(("a", "old", "zebra")):
            inside.publish(uuid.UUID(int=place), 1)
            inside.execute(
                "UPDATE outbox_events SET destination = %s WHERE destination = 'default'", [name]
            )

        assert [one.name for one in statistics().destinations] == [
            *("a", "default", "idle", "old"),
            "zebra",
        ]

    def test_aggregates_that_are_held_back(self, inside: Outbox) -> None:
        die(inside, JOB, 1, 2)
        for number in (3, 4):
            inside.publish(uuid.uuid4(), number)
        inside.drain(refusing(3, 4, outcome=rejected("busy", "later")))

        one = destination(statistics())

        assert (one.in_backoff, one.parked) == (2, 1)

    def test_relays_and_their_lanes(self, inside: Outbox) -> None:
        inside.execute(
            "INSERT INTO outbox_relays (destination, owner, seen_at, breaker, breaker_error) "
            "VALUES ('default', 'a', now(), 'CLOSED', NULL), "
            "('default', 'b', now(), 'OPEN', 'refused'), "
            "('default', 'c', now() - interval '1 min', 'OPEN', 'x'), ('other', 'd', now(), "
            "'CLOSED', NULL)"
        )
        inside.execute(
            "INSERT INTO outbox_lanes (destination, lane, owner, leased_until) VALUES "
            "('default', 1, 'a', now() + interval '1 min'), "
            "('default', 7, 'a', now() + interval '1 min'), "
            "('default', 8, 'c', now() - interval '1 min')"
        )

        found = statistics()

        one = destination(found)
        assert [(relay.owner, relay.is_alive) for relay in one.relays] == [
            *(("a", True), ("b", True)),
            ("c", False),
        ]
        assert [list(relay.lanes) for relay in one.relays] == [[1, 7], [], []]
        assert (one.leased, one.breaker) == (2, BreakerState.OPEN)
        assert one.relays[1].breaker_error == "refused"
        assert destination(found, "other").breaker is BreakerState.CLOSED

    def test_the_breaker_of_a_dead_relay_says_nothing(self, inside: Outbox) -> None:
        inside.execute(
            "INSERT INTO outbox_relays (destination, owner, seen_at, breaker) "
            "VALUES ('default', 'a', now() - interval '1 min', 'OPEN')"
        )

        assert destination(statistics()).breaker is None

    def test_of_a_relay_at_work(self, outbox: Outbox) -> None:
        from tests.outbox.test_relay.kit import running
        from tests.processes import eventually

        outbox.publish(JOB, 1)
        relay = outbox.relay(None, once=False, lease_seconds=1)
        relay._publisher.judge = lambda event: down("refused", "nobody there")  # type: ignore[attr-defined]

        with running(relay):
            assert eventually(lambda: destination(statistics()).breaker is BreakerState.OPEN, 60)
            one = destination(statistics())
            assert one.leased == len(one.relays[0].lanes) == 64
            assert "nobody there" in (one.relays[0].breaker_error or "")


def read_by(name: str, parameters: dict[str, Any]) -> int:
    """How many pages of tables and indexes a statement looks at."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement('outbox', name)}", parameters
        )
        found = cursor.fetchone()[0]
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


class TestCost:
    QUESTIONS = (("count_pending", {"cap": 100}), ("lane_lag", {"known": ["default"]}))

    @pytest.mark.parametrize(("name", "parameters"), QUESTIONS)
    def test_what_was_published_before_costs_nothing(
        self, inside: Outbox, name: str, parameters: dict[str, Any]
    ) -> None:
        inside.publish(JOB, *range(50))
        die(inside, OTHER, 1, *range(100, 130))
        history = {"number": 3_000, "share": 500}
        inside.execute(HISTORY, history)
        inside.execute("ANALYZE outbox_events")
        few = read_by(name, parameters)

        inside.execute(HISTORY, history)
        inside.execute(HISTORY, history)
        inside.execute("ANALYZE outbox_events")

        assert read_by(name, parameters) < few * 1.3 + 50

    def test_a_planner_who_was_told_nothing_reads_the_indexes_all_the_same(
        self, inside: Outbox
    ) -> None:
        """A table that grew faster than it was analysed. (A small one is better read whole.)"""
        inside.publish(JOB, *range(50))
        inside.execute("ANALYZE outbox_events")
        inside.execute(HISTORY, {"number": 30_000, "share": 1_000})
        asked: dict[str, Any] = {"cap": 100}
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {statement('outbox', 'count_pending')}", asked)
            plan = "\n".join(row[0] for row in cursor.fetchall())

        assert "Seq Scan" not in plan, plan
        for index in (
            *("outbox_events_pending_idx", "outbox_events_held_idx", "outbox_events_oldest_idx"),
            "outbox_events_published_idx",
        ):
            assert index in plan, plan

    def test_the_index_of_the_oldest_does_not_mislead_the_relay(self, inside: Outbox) -> None:
        """Analysed while next to nothing was pending, as is usual."""
        inside.publish(JOB, 1)
        inside.execute(HISTORY, {"number": 5_000, "share": 1_000})
        inside.execute("ANALYZE outbox_events")
        inside.execute(
            "INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload) "
            "SELECT gen_random_uuid(), 'JOB', 'Counted', '{}' FROM generate_series(1, 5000)"
        )
        asked: dict[str, Any] = {
            "destination": "default",
            "lanes": [*range(64)],
            "per_lane": 100,
            "most": 5_000,
        }
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {statement('outbox', 'fetch')}", asked)
            plan = "\n".join(row[0] for row in cursor.fetchall())

        assert "using outbox_events_pending_idx" in plan, plan
        assert "outbox_events_oldest_idx" not in plan, plan

    def test_the_number_of_queries_is_fixed(
        self, inside: Outbox, django_assert_num_queries: Any
    ) -> None:
        for number in range(5):
            die(inside, uuid.uuid4(), number)

        with django_assert_num_queries(7):
            statistics()
