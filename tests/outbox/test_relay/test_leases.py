"""Relays that share the lanes of a destination, and take over those of dead ones."""

from __future__ import annotations

import threading
import uuid
from itertools import count
from typing import Any

import pytest

from hodei.sessions import connect
from outbox.events import Event
from outbox.lanes import Leases
from outbox.outcomes import DELIVERED, Outcome, rejected
from tests.outbox.conftest import Outbox
from tests.outbox.recorder import Recorder
from tests.outbox.test_relay.kit import JOB, OTHER, running
from tests.processes import eventually


class TestLeases:
    def test_defect_b1_two_relays_share_and_deliver_each_event_once(self, outbox: Outbox) -> None:
        first, second = Recorder(), Recorder()
        one = outbox.relay(first, once=False, lease_seconds=1.0)
        two = outbox.relay(second, once=False, lease_seconds=1.0)
        with running(one), running(two):
            assert eventually(lambda: len(one.leases) == len(two.leases) == 32)
            assert not set(one.leases.lanes) & set(two.leases.lanes)
            for number in range(200):
                outbox.publish(uuid.UUID(int=number), number)
            assert eventually(lambda: set(outbox.statuses().values()) == {"PUBLISHED"})

        assert sorted([*first.numbers, *second.numbers]) == list(range(200))
        assert first.numbers
        assert second.numbers

    def test_a_relay_that_ends_gives_its_lanes_back(self, outbox: Outbox) -> None:
        outbox.drain()

        assert outbox.rows(
            "SELECT count(*), count(owner), count(leased_until) FROM outbox_lanes"
        ) == [(64, 0, 0)]
        assert outbox.value("SELECT count(*) FROM outbox_relays") == 0

    def test_defect_b8_the_lanes_of_a_dead_one_are_taken_over(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)
        with connect("default", "dead") as session:
            dead = Leases("default", "dead", seconds=0.3)
            dead.prepare(session)
            assert len(dead.claim(session, 64)) == 64
            assert outbox.drain().delivered == []

        recorder = Recorder()
        with running(outbox.relay(recorder, once=False)):
            assert eventually(lambda: recorder.numbers == [1])

    def test_a_zombie_writes_nothing(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        outbox.publish(OTHER, 3)
        taken = threading.Event()

        def slow(event: Event) -> Outcome:
            """While the first is still sending, another takes its lanes and delivers."""
            if not taken.is_set():
                taken.set()
                # Its keeper has renewed the leases, and will not soon do it again.
                assert eventually(lambda: outbox.value("SELECT count(*) FROM outbox_relays") == 1)
                outbox.execute("UPDATE outbox_lanes SET leased_until = now() - interval '1 s'")
                assert sorted(outbox.drain().numbers) == [1, 2, 3]
                outbox.execute("UPDATE outbox_events SET published_at = 'epoch'")
            return rejected("x", "y") if event.payload["n"] == 3 else DELIVERED

        relay = outbox.relay(Recorder(slow))
        relay.run()

        assert outbox.rows(
            "SELECT DISTINCT status, retry_count, published_at::date::text FROM outbox_events"
        ) == [("PUBLISHED", 0, "1970-01-01")]
        assert outbox.value("SELECT count(*) FROM outbox_keys") == 0

    def test_without_its_leases_it_sends_nothing(self, outbox: Outbox) -> None:
        leases = Leases("default", "me", seconds=100.0)
        with connect("default", "test") as session:
            leases.prepare(session)
            leases.claim(session, 3)
            assert leases.may_send()
            leases._valid_until -= 76.0
            assert not leases.may_send()
            assert leases.renew(session) == []
            assert leases.may_send()

    def test_a_lost_lease_is_told(self, outbox: Outbox) -> None:
        leases = Leases("default", "me")
        with connect("default", "test") as session:
            leases.prepare(session)
            (lane,) = leases.claim(session, 1)
            outbox.execute("UPDATE outbox_lanes SET fence = fence + 1 WHERE lane = %s", [lane])

            assert leases.renew(session) == [lane]
            assert len(leases) == 0

    def test_once_leaves_nothing_to_others_who_may_be_dead(self, outbox: Outbox) -> None:
        outbox.publish(JOB, "first")
        outbox.execute(
            "INSERT INTO outbox_relays (destination, owner) "
            "SELECT 'default', 'dead-' || n FROM generate_series(1, 3) AS s (n)"
        )
        hours = (3600.0 * number for number in count())

        def more(event: Event) -> Outcome:
            """When it has seen how many there are, more comes, in every lane."""
            if event.payload["n"] == "first":
                assert eventually(lambda: outbox.value("SELECT count(*) FROM outbox_relays") == 4)
                for number in range(64):
                    outbox.publish(uuid.UUID(int=number), number)
            return DELIVERED

        recorder = outbox.drain(more, clock=lambda: next(hours))

        assert sorted(recorder.numbers[1:]) == list(range(64))

    def test_once_waits_for_leases_that_were_renewed_too_late(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)

        def slow(event: Event) -> Outcome:
            if event.payload["n"] == 1:
                outbox.publish(JOB, 2)
                relay.leases._valid_until = 0.0
            return DELIVERED

        recorder = Recorder(slow)
        relay = outbox.relay(recorder, lease_seconds=1.0)
        relay.run()

        assert recorder.numbers == [1, 2]

    def test_a_renewal_that_fails_in_any_way_is_tried_again(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = 0

        def renew(leases: Leases, session: Any) -> list[int]:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise LookupError("a defect")
            return genuine(leases, session)

        genuine = Leases.renew
        monkeypatch.setattr(Leases, "renew", renew)
        with running(outbox.relay(once=False, lease_seconds=1.0)):
            assert eventually(lambda: outbox.value("SELECT count(*) FROM outbox_relays") == 1)

        assert calls > 1

    def test_what_a_limited_one_leaves_is_not_left_to_nobody(self, outbox: Outbox) -> None:
        limited, first, second = Recorder(), Recorder(), Recorder()
        few = outbox.relay(limited, once=False, most_lanes=4, lease_seconds=1.0)
        one = outbox.relay(first, once=False, lease_seconds=1.0)
        two = outbox.relay(second, once=False, lease_seconds=1.0)
        with running(few), running(one):
            # Before it has heard of the other it may have them all: so more come when it has.
            assert eventually(lambda: (len(few.leases), len(one.leases)) == (4, 32))
            for number in range(64):
                outbox.publish(uuid.UUID(int=number), number)
            assert eventually(lambda: set(outbox.statuses().values()) == {"PUBLISHED"})
            assert (len(few.leases), len(one.leases)) == (4, 60)
            with running(two):
                assert eventually(
                    lambda: len(two.leases) >= 22 and len(one.leases) + len(two.leases) == 60
                )
                assert len(one.leases) >= 22

    def test_lanes_are_limited_where_asked(self, outbox: Outbox) -> None:
        relay = outbox.relay(once=False, most_lanes=5)
        with running(relay):
            assert eventually(lambda: len(relay.leases) == 5)
