"""Events that are rejected, dead letters, and a destination that is down."""

from __future__ import annotations

import threading
import uuid
from random import Random

import pytest

from hodei.sessions import connect
from outbox import settlement
from outbox.conf import SKIP, Destination
from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome, down, permanent, rejected
from outbox.states import BreakerState
from tests.outbox.conftest import Outbox
from tests.outbox.recorder import Recorder
from tests.outbox.test_relay.kit import JOB, OTHER, SAME_LANE, failing, make, retry_now, running
from tests.processes import eventually


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

    def test_behind_one_that_somebody_has_taken_away_nobody_waits(self, outbox: Outbox) -> None:
        """There is no aggregate that waits, and so nothing that would let them go."""
        outbox.publish(JOB, 1, 2)

        def judge(event: Event) -> Outcome:
            outbox.execute(
                "UPDATE outbox_events SET status = 'PUBLISHED', published_at = now() "
                "WHERE payload ->> 'n' = '1'"
            )
            return failing(rejected("x", "y"), 1)(event)

        assert outbox.drain(judge).numbers == [2]

    def test_a_second_rejection_keeps_them_waiting(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        judge = failing(rejected("x", "y"), 1)

        for _ in range(3):
            assert outbox.drain(judge).numbers == []
            retry_now(outbox)

        assert outbox.value("SELECT max(retry_count) FROM outbox_events") == 3
        assert outbox.drain().numbers == [1, 2]

    def test_a_relay_at_work_tries_again_by_itself(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settlement, "RETRIES", settlement.Backoff(base=0.01, cap=0.02))
        outbox.publish(JOB, 1, 2)
        recorder = Recorder(
            lambda event: DELIVERED if event.attempt == 3 or event.payload["n"] == 2
            else rejected("busy", "later")
        )  # fmt: skip

        with running(outbox.relay(recorder, once=False)):
            assert eventually(lambda: recorder.numbers == [1, 2])

        assert [[event.attempt for event in batch] for batch in recorder.batches[:3]] == [
            *([1, 1], [2], [3])
        ]

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

    def test_the_destination_may_ask_for_a_longer_pause(self, outbox: Outbox) -> None:
        """As with Retry-After, or for a day where it is gone."""
        outbox.publish(JOB, 1)
        recorder = Recorder(lambda event: down("http_503", "not now", retry_after=3600.0))
        relay = outbox.relay(recorder, clock=lambda: 100.0)

        relay.run()

        assert relay.breaker.left(100.0) == 3600.0
        assert len(recorder.batches) == 1

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

    def test_one_event_that_is_never_answered_does_not_stand_for_all(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Alone it looks like an outage, and it would be alone for ever."""
        monkeypatch.setattr("outbox.breaker.PAUSES", settlement.Backoff(base=0.01, cap=0.02))
        outbox.publish(JOB, 1)
        outbox.publish(OTHER, 2)
        recorder = Recorder(
            lambda event: (
                DELIVERED
                if event.payload["n"] == 2 and len(recorder.batches) > 1
                else down("timeout", "no answer")
            )
        )

        with running(outbox.relay(recorder, once=False)):
            assert eventually(lambda: recorder.numbers == [2])

    def test_a_rejection_shows_that_the_transport_works(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1)
        relay = outbox.relay(Recorder(failing(rejected("x", "y"), 1)))
        relay.breaker.down(-100.0, "earlier")

        relay.run()

        assert relay.breaker.state is BreakerState.CLOSED


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

    @pytest.mark.parametrize("first", [down("c", "d"), settlement.Outcome(settlement.Kind.HELD)])
    def test_behind_what_was_not_sent_no_attempt_is_spent(self, first: Outcome) -> None:
        """A publisher that goes on with a key breaks its word; the order is kept all the same."""
        events = [make(1, 1), make(1, 2), make(1, 3), make(2, 4)]
        outcomes = [first, rejected("a", "b"), permanent("e", "f"), rejected("a", "b")]

        found = settlement.decide(events, outcomes, self.destination, Random(1))

        assert [event.seq for event in found.unsent] == [1, 2, 3]
        assert [one.event.seq for one in found.failures] == [4]
        assert found.behind == []
