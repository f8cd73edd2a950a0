"""The relay against a real database, with publishers that the test controls."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from django.db import connections

from hodei.sessions import connect
from outbox import held, settlement
from outbox.conf import SKIP, Destination
from outbox.events import Event
from outbox.lanes import Leases
from outbox.outcomes import DELIVERED, Outcome, down, permanent, rejected
from outbox.relay import MOST_CRASHES, Relay, send
from outbox.states import BreakerState
from tests.outbox.conftest import Outbox
from tests.outbox.recorder import Recorder
from tests.processes import eventually

JOB, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
SAME_LANE = uuid.UUID(int=65)


def failing(outcome: Outcome, *numbers: int) -> Callable[[Event], Outcome]:
    return lambda event: outcome if event.payload["n"] in numbers else DELIVERED


def retry_now(outbox: Outbox) -> None:
    """Let every retry time have come."""
    outbox.execute("UPDATE outbox_keys SET retry_at = now() WHERE state = 'BACKOFF'")


@contextmanager
def running(relay: Relay) -> Iterator[threading.Thread]:
    """The relay at work in a thread, until the block ends."""

    def run() -> None:
        try:
            relay.run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        relay._stop.set()
        thread.join(30)
        assert not thread.is_alive()


class TestDelivery:
    def test_defect_b3_delivers_in_order_and_writes_it_down(self, outbox: Outbox) -> None:
        outbox.publish(JOB, *range(300))

        recorder = outbox.drain()

        assert recorder.numbers == list(range(300))
        assert outbox.rows(
            "SELECT DISTINCT status, published_at IS NOT NULL, attempts_started, "
            "attempts_finished, retry_count FROM outbox_events"
        ) == [("PUBLISHED", True, 1, 1, 0)]
        assert (recorder.opened, recorder.closed) == (1, 1)

    def test_an_event_is_what_was_published(self, outbox: Outbox) -> None:
        (event_id,) = outbox.publish(
            "order 7", 1, metadata={"correlation_id": "c"}, idempotency_key="k", version=2
        )

        (event,) = outbox.drain().delivered

        assert (event.id, event.event_type, event.version) == (event_id, "Counted", 2)
        assert (event.subject, event.data, event.payload) == ("order 7", '{"n": 1}', {"n": 1})
        assert (event.metadata, event.idempotency_key) == ({"correlation_id": "c"}, "k")
        assert (event.attempt, event.destination) == (1, "default")
        assert event.created_at.utcoffset() is not None

    def test_what_the_original_wrote_is_delivered(self, outbox: Outbox) -> None:
        outbox.execute(
            "INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, "
            "metadata) VALUES (gen_random_uuid(), 'JOB', 'JobCreated', '[1]', '\"odd\"')"
        )

        (event,) = outbox.drain().delivered

        assert (event.payload, event.metadata) == ([1], {"value": "odd"})

    def test_other_destinations_are_left_alone(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)
        outbox.execute("UPDATE outbox_events SET destination = 'elsewhere'")

        assert outbox.drain().delivered == []

    def test_what_stands_first_commits_late_is_found(self, outbox: Outbox) -> None:
        """A reader with a cursor would have passed its number already."""
        outbox.publish(OTHER, 1, 2)
        outbox.execute("UPDATE outbox_events SET status = 'FAILED' WHERE payload ->> 'n' = '1'")
        assert outbox.drain().numbers == [2]
        outbox.execute("UPDATE outbox_events SET status = 'PENDING' WHERE status = 'FAILED'")

        assert outbox.drain().numbers == [1]

    def test_batches_are_bounded_in_bytes(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("outbox.batches.MOST_BYTES", 10_000)
        outbox.execute(
            "INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload) "
            "SELECT %s, 'JOB', 'Counted', jsonb_build_object('n', n, 'x', repeat('y', 4000)) "
            "FROM generate_series(1, 20) AS s (n)",
            [JOB],
        )

        recorder = outbox.drain()

        assert recorder.numbers == list(range(1, 21))
        assert {len(batch) for batch in recorder.batches} <= {1, 2, 3}

    def test_many_of_one_lane_take_larger_batches(self, outbox: Outbox) -> None:
        outbox.execute(
            "INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload) "
            "SELECT %s, 'JOB', 'Counted', jsonb_build_object('n', n) "
            "FROM generate_series(0, 2999) AS s (n)",
            [JOB],
        )

        recorder = outbox.drain()

        assert recorder.numbers == list(range(3000))
        assert [len(batch) for batch in recorder.batches[:3]] == [100, 200, 400]


class TestRejected:
    def test_defect_b4_it_is_tried_again_after_its_time(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)

        outbox.drain(failing(rejected("http_422", "no"), 1))

        assert outbox.rows(
            "SELECT status, held, retry_count, last_error, error_class, "
            "next_attempt_at > now(), attempts_started, attempts_finished FROM outbox_events"
        ) == [("PENDING", True, 1, "no", "http_422", True, 1, 1)]
        assert outbox.drain().delivered == []
        retry_now(outbox)
        (event,) = outbox.drain().delivered
        assert event.attempt == 2
        assert outbox.value("SELECT count(*) FROM outbox_keys") == 0

    def test_its_followers_wait_and_others_do_not(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        outbox.publish(SAME_LANE, 11, 12)
        judge = failing(rejected("x", "y"), 1)

        first = outbox.drain(judge)
        outbox.publish(JOB, 3)
        second = outbox.drain(judge)
        retry_now(outbox)
        third = outbox.drain()

        assert (first.numbers, second.numbers, third.numbers) == ([11, 12], [], [1, 2, 3])

    def test_a_second_rejection_keeps_them_waiting(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        judge = failing(rejected("x", "y"), 1)

        for _ in range(3):
            assert outbox.drain(judge).numbers == []
            retry_now(outbox)

        assert outbox.value("SELECT max(retry_count) FROM outbox_events") == 3
        assert outbox.drain().numbers == [1, 2]

    def test_the_destination_may_ask_for_a_longer_pause(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)

        outbox.drain(failing(rejected("http_429", "slow", retry_after=3600.0), 1))

        seconds = outbox.value("SELECT extract(epoch FROM retry_at - now()) FROM outbox_keys")
        assert 3500 < seconds <= 3600

    def test_defect_b5_with_its_last_attempt_it_becomes_a_dead_letter_once(
        self, outbox: Outbox
    ) -> None:
        outbox.publish(JOB, 1)
        destination = Destination(name="default", publisher="unused", max_attempts=2)
        judge = failing(rejected("http_422", "no"), 1)

        outbox.drain(judge, destination=destination)
        retry_now(outbox)
        outbox.drain(judge, destination=destination)

        assert outbox.statuses() == {1: "FAILED"}
        assert outbox.rows("SELECT error_class, error_message, retry_count FROM outbox_dlq") == [
            ("http_422", "no", 2)
        ]
        assert outbox.drain(judge, destination=destination).numbers == []
        assert outbox.value("SELECT count(*) FROM outbox_dlq") == 1


class TestDeath:
    def test_a_dead_letter_is_the_whole_event(self, outbox: Outbox) -> None:
        (event_id,) = outbox.publish(
            "order 7", 1, metadata={"m": 1}, idempotency_key="k", version=2
        )

        outbox.drain(failing(permanent("unroutable", "nobody listens"), 1))

        assert outbox.rows(
            "SELECT d.original_event_id, d.aggregate_id = e.aggregate_id, d.aggregate_type, "
            "d.aggregate_key, d.event_type, d.event_version, d.payload::text, d.metadata::text, "
            "d.idempotency_key, d.seq = e.seq, d.error_message, d.error_class, "
            "d.original_created_at = e.created_at, d.fingerprint = e.fingerprint, d.resolved_at "
            "FROM outbox_dlq d JOIN outbox_events e ON e.id = d.original_event_id"
        ) == [
            (
                *(event_id, True, "JOB", "order 7", "Counted", 2, '{"n": 1}', '{"m": 1}', "k"),
                *(True, "nobody listens", "unroutable", True, True, None),
            )
        ]
        ((action, note, actor),) = outbox.rows("SELECT action, note, actor FROM outbox_dlq_actions")
        assert (action, note) == ("DIED", "nobody listens")
        assert "-" in actor

    def test_its_followers_are_parked(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        judge = failing(permanent("x", "y"), 1)

        assert outbox.drain(judge).numbers == []
        outbox.publish(JOB, 3)
        assert outbox.drain(judge).numbers == []

        assert outbox.rows(
            "SELECT k.state, k.dead_letter_id = d.id, k.event_id = d.original_event_id, k.retry_at "
            "FROM outbox_keys k, outbox_dlq d"
        ) == [("PARKED", True, True, None)]
        assert outbox.rows("SELECT held FROM outbox_events ORDER BY seq") == [
            (False,),
            (True,),
            (True,),
        ]

    def test_with_skip_they_go_on(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2, 3)
        destination = Destination(name="default", publisher="unused", on_death=SKIP)

        recorder = outbox.drain(failing(permanent("x", "y"), 1), destination=destination)

        assert recorder.numbers == [2, 3]
        assert outbox.statuses() == {1: "FAILED", 2: "PUBLISHED", 3: "PUBLISHED"}
        assert outbox.value("SELECT count(*) FROM outbox_keys") == 0

    def test_with_skip_what_waited_behind_a_retry_goes_on(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        destination = Destination(name="default", publisher="unused", on_death=SKIP, max_attempts=2)
        judge = failing(rejected("x", "y"), 1)

        outbox.drain(judge, destination=destination)
        retry_now(outbox)

        assert outbox.drain(judge, destination=destination).numbers == [2]

    def test_a_second_death_opens_the_letter_again(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)
        outbox.drain(failing(permanent("x", "first"), 1))
        outbox.execute(
            "UPDATE outbox_dlq SET resolved_at = now(), resolved_by = 'me', resolution_notes = 'z'"
        )
        outbox.execute("DELETE FROM outbox_keys")
        outbox.execute("UPDATE outbox_events SET status = 'PENDING'")

        outbox.drain(failing(permanent("x", "second"), 1))

        assert outbox.rows(
            "SELECT error_message, resolved_at, resolved_by, resolution_notes FROM outbox_dlq"
        ) == [("second", None, None, None)]
        assert outbox.value("SELECT count(*) FROM outbox_dlq_actions WHERE action = 'DIED'") == 2

    def test_defect_3_7_one_event_that_cannot_be_sent_stops_no_others(self, outbox: Outbox) -> None:
        """The original left what it could not convert at the head of the table."""
        for number in range(60):
            outbox.publish(uuid.UUID(int=number + 1), number)

        recorder = outbox.drain(failing(permanent("x", "y"), *range(50)))

        assert sorted(recorder.numbers) == list(range(50, 60))

    def test_errors_are_stored_without_secrets(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)

        outbox.drain(failing(permanent("x", "POST https://me:hunter2@x.example/\0\ud800"), 1))

        message = outbox.value("SELECT error_message FROM outbox_dlq")
        assert "hunter2" not in message
        assert message.startswith("POST https://me:[redacted]@x.example/")


class TestDown:
    def test_defect_b6_an_outage_spends_nothing_and_kills_nothing(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        recorder = Recorder(lambda event: down("refused", "connection refused"))
        relay = outbox.relay(recorder)

        relay.run()

        assert relay.breaker.state is BreakerState.OPEN
        assert outbox.rows(
            "SELECT DISTINCT status, retry_count, held, attempts_started, last_error "
            "FROM outbox_events"
        ) == [("PENDING", 0, False, 0, None)]
        assert outbox.drain().numbers == [1, 2]

    def test_ten_minutes_without_a_broker_dead_letter_nothing(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        outbox.publish(OTHER, 3)
        now = 0.0
        recorder = Recorder(lambda event: down("x", "y") if now < 600.0 else DELIVERED)
        relay = outbox.relay(recorder, clock=lambda: now)
        with connect("default", "test") as session:
            relay.leases.prepare(session)
            relay.leases.claim(session, 64)
            while now < 640.0:
                relay._round(session)
                now += 0.25

        assert sorted(recorder.numbers) == [1, 2, 3]
        # While it is down, one event at a time asks.
        assert {len(batch) for batch in recorder.batches[1:-1]} == {1}
        # Pauses of 3 to 30 seconds at the end, so it was asked some dozens of times.
        assert 20 < len(recorder.batches) < 250
        assert outbox.rows("SELECT DISTINCT status, retry_count FROM outbox_events") == [
            ("PUBLISHED", 0)
        ]
        assert outbox.value("SELECT count(*) FROM outbox_dlq") == 0

    def test_half_a_batch_is_what_it_is(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2, 3)

        outbox.drain(failing(down("reset", "connection reset"), 2))

        assert outbox.statuses() == {1: "PUBLISHED", 2: "PENDING", 3: "PENDING"}
        assert outbox.drain().numbers == [2, 3]

    def test_comes_back_with_one_event_first(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("outbox.breaker.PAUSES", settlement.Backoff(base=0.01, cap=0.02))
        outbox.publish(JOB, *range(10))
        is_down = threading.Event()
        is_down.set()
        recorder = Recorder(lambda event: down("x", "y") if is_down.is_set() else DELIVERED)
        relay = outbox.relay(recorder, once=False)

        with running(relay):
            assert eventually(lambda: len(recorder.batches) >= 3)
            is_down.clear()
            assert eventually(lambda: len(recorder.delivered) == 10)

        assert [len(batch) for batch in recorder.batches[:3]] == [10, 1, 1]
        assert recorder.numbers == list(range(10))
        assert relay.breaker.state is BreakerState.CLOSED
        assert outbox.value("SELECT count(*) FROM outbox_dlq") == 0

    def test_a_rejection_shows_that_the_transport_works(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)
        relay = outbox.relay(Recorder(failing(rejected("x", "y"), 1)))
        relay.breaker.down(-100.0, "earlier")

        relay.run()

        assert relay.breaker.state is BreakerState.CLOSED


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

    def test_lanes_are_limited_where_asked(self, outbox: Outbox) -> None:
        relay = outbox.relay(once=False, most_lanes=5)
        with running(relay):
            assert eventually(lambda: len(relay.leases) == 5)


class TestCrash:
    """A process that died while it was sending: its lanes come with a lease that was left open."""

    def die(self, outbox: Outbox) -> None:
        outbox.execute(
            "UPDATE outbox_lanes SET owner = 'dead', leased_until = now() - interval '1 second'"
        )

    def test_what_was_sent_and_not_written_down_is_sent_again(self, outbox: Outbox) -> None:
        outbox.drain()
        outbox.publish(JOB, 1)
        self.die(outbox)

        assert outbox.drain().numbers == [1]
        assert outbox.rows("SELECT attempts_started, attempts_finished FROM outbox_events") == [
            (1, 1)
        ]

    def test_a_poison_payload_ends_as_crashed(self, outbox: Outbox) -> None:
        """Whoever sends number 3 dies; the others are delivered all the same, and in order."""
        outbox.drain()
        outbox.publish(JOB, 1)
        outbox.publish(OTHER, 2, 3, 4)
        outbox.publish(SAME_LANE, 5)

        class Died(BaseException):
            """As SIGKILL would: nothing is written down after it."""

        delivered: list[int] = []
        deaths = 0

        def judge(event: Event) -> Outcome:
            if event.payload["n"] == 3:
                raise Died
            delivered.append(event.payload["n"])
            return DELIVERED

        for _ in range(MOST_CRASHES + 2):
            relay = outbox.relay(Recorder(judge))
            try:
                relay.run()
                break
            except Died:
                deaths += 1
                self.die(outbox)

        assert deaths == MOST_CRASHES + 1
        assert outbox.statuses() == {
            1: "PUBLISHED",
            2: "PUBLISHED",
            3: "FAILED",
            4: "PENDING",
            5: "PUBLISHED",
        }
        assert outbox.rows("SELECT error_class, retry_count FROM outbox_dlq") == [("crashed", 0)]
        assert outbox.rows("SELECT held FROM outbox_events WHERE status = 'PENDING'") == [(True,)]
        first = {number: delivered.index(number) for number in (1, 2, 5)}
        assert len(first) == 3

    def test_what_two_processes_died_with_goes_alone_and_others_do_not_wait(
        self, outbox: Outbox
    ) -> None:
        for number in range(6):
            outbox.publish(uuid.UUID(int=number + 1), number)
        outbox.execute(
            "UPDATE outbox_events SET attempts_started = 1 WHERE payload ->> 'n' IN ('1', '2', '4')"
        )

        recorder = outbox.drain()

        sent = [[event.payload["n"] for event in batch] for batch in recorder.batches]
        assert sent == [[1], [2], [4], [0, 3, 5]]

    def test_with_a_destination_that_is_down_nothing_more_goes_alone(self, outbox: Outbox) -> None:
        for number in range(3):
            outbox.publish(uuid.UUID(int=number + 1), number)
        outbox.execute("UPDATE outbox_events SET attempts_started = 1 WHERE payload ->> 'n' <> '2'")

        recorder = outbox.drain(lambda event: down("x", "y"))

        assert [len(batch) for batch in recorder.batches] == [1]
        assert outbox.value("SELECT sum(attempts_started - attempts_finished) FROM outbox_events")

    def test_an_outage_after_a_crash_is_no_crash(self, outbox: Outbox) -> None:
        outbox.drain()
        outbox.publish(JOB, 1)
        for _ in range(MOST_CRASHES + 2):
            self.die(outbox)
            outbox.drain(lambda event: down("x", "y"))

        assert outbox.drain().numbers == [1]

    def test_a_death_between_delivery_and_release_is_mended(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        outbox.drain(failing(rejected("x", "y"), 1))
        outbox.execute(
            "UPDATE outbox_events SET status = 'PUBLISHED', held = false "
            "WHERE payload ->> 'n' = '1'; UPDATE outbox_keys SET retry_at = NULL"
        )

        assert outbox.drain().numbers == [2]
        assert outbox.value("SELECT count(*) FROM outbox_keys") == 0


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

    def test_what_a_person_has_dealt_with_is_left_alone(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)

        def judge(event: Event) -> Outcome:
            outbox.execute("UPDATE outbox_events SET status = 'FAILED'")
            return permanent("x", "y")

        outbox.drain(judge)

        assert outbox.value("SELECT count(*) FROM outbox_dlq") == 0
        assert outbox.value("SELECT count(*) FROM outbox_keys") == 0


class TestWakeUp:
    def test_a_sleeping_relay_is_woken(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("outbox.relay.LONGEST_POLL", 300.0)
        monkeypatch.setattr("outbox.relay.SHORTEST_POLL", 300.0)
        recorder = Recorder()
        gates = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        relay = outbox.relay(recorder, once=False)
        relay._pace.longest = relay._pace.shortest = 5.0
        with running(relay):
            assert eventually(lambda: outbox.value(gates, [0x6F757402]) == 64)
            outbox.publish(JOB, 1)
            assert recorder.arrived.wait(4.0)

    def test_one_that_works_is_not_notified(self, outbox: Outbox) -> None:
        with connect("default", "listener") as listener:
            listener.execute("LISTEN hodei_outbox")
            outbox.publish(JOB, 1)

            assert list(listener.notifies(timeout=0.05)) == []

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


class TestBadPublishers:
    def test_one_that_raises_is_tried_with_each_event(self) -> None:
        class Breaks(Recorder):
            def send_batch(self, events: Any) -> Any:
                if any(event.payload["n"] == 2 for event in events):
                    raise ValueError("two is odd")
                return super().send_batch(events)

        outcomes = send(Breaks(), [make(1, 1), make(1, 2), make(1, 3), make(2, 4)])

        assert [outcome.kind for outcome in outcomes] == [
            "delivered",
            "rejected",
            "held",
            "delivered",
        ]
        assert outcomes[1].code == "ValueError"

    def test_one_that_miscounts_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        class Forgets(Recorder):
            def send_batch(self, events: Any) -> Any:
                return super().send_batch(events)[1:]

        (outcome,) = send(Forgets(), [make(1, 1)])

        assert outcome.message == "send_batch returned 0 outcomes for 1 events"


def make(aggregate: int, number: int) -> Event:
    from datetime import UTC, datetime

    return Event(
        id=uuid.uuid4(),
        seq=number,
        event_type="Counted",
        version=1,
        aggregate_type="JOB",
        aggregate_id=uuid.UUID(int=aggregate),
        subject="x",
        data=f'{{"n": {number}}}',
        metadata={},
        idempotency_key=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        destination="default",
    )


class TestDecide:
    destination = Destination(name="default", publisher="unused", max_attempts=3)

    def test_sorts_a_batch(self) -> None:
        events = [make(1, 1), make(1, 2), make(2, 3), make(3, 4), make(3, 5), make(4, 6)]
        outcomes = [
            rejected("a", "b"),
            settlement.Outcome(settlement.Kind.HELD),
            DELIVERED,
            down("c", "d"),
            settlement.Outcome(settlement.Kind.HELD),
            permanent("e", "f"),
        ]

        found = settlement.decide(events, outcomes, self.destination, Random(1))

        assert [event.seq for event in found.delivered] == [3]
        assert [one.event.seq for one in found.failures] == [1, 6]
        assert [event.seq for event in found.behind] == [2]
        assert [event.seq for event in found.unsent] == [4, 5]
        assert found.down == down("c", "d")
        assert found.failures[0].again_in is not None
        assert found.failures[1].again_in is None
