"""A process that died while it was sending."""

from __future__ import annotations

import uuid

import pytest

from hodei.backoff import Backoff
from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome, down, rejected
from outbox.relay import MOST_CRASHES
from tests.outbox.conftest import Outbox
from tests.outbox.recorder import Recorder
from tests.outbox.test_relay.kit import JOB, OTHER, SAME_LANE, failing, running
from tests.processes import eventually


class TestCrash:
    """A process that died while it was sending: its lanes come with a lease that was left open."""

    def die(self, outbox: Outbox) -> None:
        outbox.execute(
            "UPDATE outbox_lanes SET owner = 'dead', leased_until = now() - interval '1 second'"
        )

    def test_defect_3_7_what_was_sent_and_not_written_down_is_sent_again_with_its_id(
        self, outbox: Outbox
    ) -> None:
        outbox.drain()
        ids = outbox.publish(JOB, 1)
        self.die(outbox)

        assert [event.id for event in outbox.drain().delivered] == ids
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

    def test_lanes_whose_events_were_sent_are_under_no_suspicion(self, outbox: Outbox) -> None:
        """Else each batch would be marked before it is sent, for ever."""
        outbox.drain()
        outbox.publish(JOB, 1)
        self.die(outbox)
        suspects: list[int] = []

        def judge(event: Event) -> Outcome:
            suspects.append(len(relay.leases.suspects()))
            if event.payload["n"] == 1:
                outbox.publish(JOB, 2)
            return DELIVERED

        relay = outbox.relay(Recorder(judge))
        relay.run()

        assert suspects == [64, 0]

    def test_with_a_destination_that_is_down_nothing_more_goes_alone(self, outbox: Outbox) -> None:
        for number in range(3):
            outbox.publish(uuid.UUID(int=number + 1), number)
        outbox.execute("UPDATE outbox_events SET attempts_started = 1 WHERE payload ->> 'n' <> '2'")

        recorder = outbox.drain(lambda event: down("x", "y"))

        assert [len(batch) for batch in recorder.batches] == [1]
        assert outbox.value("SELECT sum(attempts_started - attempts_finished) FROM outbox_events")

    def test_a_database_that_is_lost_again_and_again_is_no_crash(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each time while the event is sent, and its lane leased anew by the same process."""
        monkeypatch.setattr("outbox.relay.RECONNECTS", Backoff(base=0.01, cap=0.02))
        outbox.publish(JOB, 1)

        def judge(_event: Event) -> Outcome:
            if len(recorder.batches) <= 2 * MOST_CRASHES:
                outbox.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() "
                    "AND application_name LIKE 'hodei outbox relay%'"
                )
                self.die(outbox)
            return DELIVERED

        recorder = Recorder(judge)
        with running(outbox.relay(recorder, once=False)):
            assert eventually(lambda: outbox.statuses() != {1: "PENDING"})

        assert outbox.statuses() == {1: "PUBLISHED"}
        assert len(recorder.batches) == 2 * MOST_CRASHES + 1

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
