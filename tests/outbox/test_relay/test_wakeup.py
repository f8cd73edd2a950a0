"""What wakes a relay, and how seldom it asks."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import transaction

from hodei.sessions import connect
from outbox.events import Event
from outbox.keys import lane_of
from outbox.outcomes import DELIVERED, Outcome
from outbox.services.publish import Draft, publish_many
from outbox.wakeup import GATE
from tests.outbox.conftest import Outbox
from tests.outbox.recorder import Recorder
from tests.outbox.test_relay.kit import JOB, OTHER, SAME_LANE, running
from tests.processes import eventually


class TestWakeUp:
    def test_defect_3_7_a_payload_of_any_size_wakes_a_sleeping_relay(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("outbox.relay.LONGEST_POLL", 300.0)
        monkeypatch.setattr("outbox.relay.SHORTEST_POLL", 300.0)

        def hurry(event: Event) -> Outcome:
            relay._pace.longest = relay._pace.shortest = 0.01
            return DELIVERED

        recorder = Recorder(hurry)
        gates = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        relay = outbox.relay(recorder, once=False)
        relay._pace.longest = relay._pace.shortest = 300.0
        with running(relay):
            assert eventually(lambda: outbox.value(gates, [0x6F757402]) == 64)
            outbox.publish(JOB, "more than a notification can carry" * 1_000)
            assert recorder.arrived.wait(30)

    def test_one_that_works_is_not_notified(self, outbox: Outbox) -> None:
        with connect("default", "listener") as listener:
            listener.execute("LISTEN hodei_outbox")
            outbox.publish(JOB, 1)

            assert list(listener.notifies(timeout=0.05)) == []

    @pytest.mark.parametrize("how", ["one", "many"])
    def test_one_that_sleeps_is_rung_for_its_own_lanes_and_told_nothing(
        self, outbox: Outbox, how: str
    ) -> None:
        def publish(aggregate: uuid.UUID) -> list[str]:
            if how == "one":
                outbox.publish(aggregate, 1)
            else:
                draft = Draft(
                    event_type="Counted", aggregate_type="JOB", aggregate_id=aggregate, payload={}
                )
                with transaction.atomic():
                    publish_many([draft])
            return [one.payload for one in listener.notifies(timeout=0.2, stop_after=1)]

        with connect("default", "a relay that sleeps") as listener:
            listener.execute("LISTEN hodei_outbox")
            # Of this lane it has closed the gate.
            listener.execute("SELECT pg_advisory_lock(%s, %s)", [GATE, lane_of(JOB)])

            assert publish(JOB) == [""]
            assert publish(OTHER) == []
            assert publish(SAME_LANE) == [""]

    def test_an_idle_relay_asks_once_a_second(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        relay = outbox.relay(once=False)
        rounds: list[float] = []
        looked = relay._fetch

        def count(*arguments: Any, **options: Any) -> Any:
            rounds.append(relay._pace._pause)
            return looked(*arguments, **options)

        monkeypatch.setattr(relay, "_fetch", count)
        with running(relay):
            assert eventually(lambda: len(rounds) > 2 and rounds[-1] == 1.0)

        # Two looks a pause, of which the second is behind closed gates.
        assert len(rounds) <= 2 * 9
