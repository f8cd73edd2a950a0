"""Events that wait behind a dead letter, and their release meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hodei.sessions import connect
from outbox import held
from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome, permanent, rejected
from tests.outbox.conftest import Outbox
from tests.outbox.recorder import Recorder
from tests.outbox.test_relay.kit import JOB, OTHER, SAME_LANE, failing, running
from tests.processes import eventually


class TestParked:
    @pytest.mark.parametrize("followers", [3_000, pytest.param(300_000, marks=pytest.mark.slow)])
    def test_any_number_of_followers_is_out_of_the_way_and_comes_back_in_order(
        self, outbox: Outbox, followers: int
    ) -> None:
        outbox.publish(JOB, 0)
        outbox.drain(failing(permanent("x", "y"), 0))
        outbox.execute(
            "INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload) "
            "SELECT %s, 'JOB', 'Counted', jsonb_build_object('n', n) "
            "FROM generate_series(1, %s) AS s (n)",
            [JOB, followers],
        )
        assert outbox.drain().numbers == []
        assert outbox.value("SELECT count(*) FROM outbox_events WHERE held") == followers

        outbox.publish(SAME_LANE, -1)
        outbox.execute("ANALYZE outbox_events")
        recorder = outbox.drain()
        assert recorder.numbers == [-1]
        assert rows_read(outbox) < 10

        head = outbox.value("SELECT event_id FROM outbox_keys")
        with connect("default", "a person") as person, person.transaction():
            held.let_go(person, "default", [head])
        assert outbox.drain().numbers == list(range(1, followers + 1))


def rows_read(outbox: Outbox) -> int:
    """How many rows and entries of indexes a look for work of all lanes goes through."""
    from hodei.sql import statement

    plan = outbox.rows(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {statement('outbox', 'fetch')}",
        {"destination": "default", "lanes": list(range(64)), "per_lane": 100, "most": 5_000},
    )[0][0]

    def read(node: dict[str, Any]) -> float:
        own = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        here = own * node["Actual Loops"] if "Scan" in node["Node Type"] else 0
        inner = sum(read(part) for part in node.get("Plans", ()))
        return inner + (here if node.get("Relation Name") == "outbox_events" else 0)

    document = json.loads(plan) if isinstance(plan, str) else plan
    return int(read(document[0]["Plan"]))


class TestMeanwhile:
    def test_a_release_and_a_hold_do_not_miss_each_other(self, outbox: Outbox) -> None:
        """The relay has met a follower; before it is held back, its aggregate is let go. (The other
        way round: ``TestAtOnce`` of the dead letters.)"""
        outbox.publish(JOB, 1)
        outbox.drain(failing(permanent("x", "y"), 1))
        (follower,) = outbox.publish(JOB, 2)
        key, head = outbox.rows("SELECT id, event_id FROM outbox_keys")[0]
        from hodei.sql import statement

        with (
            connect("default", "a person") as person,
            connect("default", "relay") as relay,
            person.transaction(),
        ):
            held.let_go(person, "default", [head])
            put_aside = relay.execute(
                statement("outbox", "hold_behind"), {"ids": [follower], "keys": [key]}
            )

        assert put_aside.rowcount == 0
        assert outbox.rows("SELECT held FROM outbox_events WHERE id = %s", [follower]) == [(False,)]
        assert outbox.drain().numbers == [2]

    def test_a_release_that_takes_its_time_stops_no_others(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)
        outbox.drain(failing(permanent("x", "y"), 1))
        head = outbox.value("SELECT event_id FROM outbox_keys")
        recorder = Recorder()

        with connect("default", "a person") as person, running(outbox.relay(recorder, once=False)):
            with person.transaction():
                held.let_go(person, "default", [head])
                outbox.publish(JOB, 2)
                outbox.publish(SAME_LANE, 3)
                assert eventually(lambda: recorder.numbers == [3])
            assert eventually(lambda: recorder.numbers == [3, 2])

    def test_a_release_goes_by_statements_that_end(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(held, "MOST_LET_GO", 2)
        for aggregate in (JOB, OTHER):
            outbox.publish(aggregate, 0)
        outbox.drain(failing(permanent("x", "y"), 0))
        for aggregate in (JOB, OTHER):
            outbox.publish(aggregate, 1, 2, 3, 4)
        outbox.drain()
        heads = [row[0] for row in outbox.rows("SELECT event_id FROM outbox_keys")]

        with connect("default", "a person") as person, person.transaction():
            held.let_go(person, "default", heads)

        assert sorted(outbox.drain().numbers) == [1, 1, 2, 2, 3, 3, 4, 4]

    @pytest.mark.parametrize(
        "outcome",
        [DELIVERED, rejected("x", "y"), permanent("x", "y")],
        ids=lambda outcome: outcome.kind.value,
    )
    def test_what_a_person_has_dealt_with_is_left_alone(
        self, outbox: Outbox, outcome: Outcome
    ) -> None:
        outbox.publish(JOB, 1)

        def judge(event: Event) -> Outcome:
            outbox.execute("UPDATE outbox_events SET status = 'FAILED'")
            return outcome

        outbox.drain(judge)

        assert outbox.rows(
            "SELECT status, held, retry_count, last_error, published_at FROM outbox_events"
        ) == [("FAILED", False, 0, None, None)]
        assert outbox.value("SELECT count(*) FROM outbox_dlq") == 0
        assert outbox.value("SELECT count(*) FROM outbox_keys") == 0
