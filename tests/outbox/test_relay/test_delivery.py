"""What a relay delivers, in which order, and through publishers that are wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hodei.backoff import Backoff
from hodei.sessions import connect
from outbox.batches import Fetch
from outbox.envelope import attributes
from outbox.events import Event
from outbox.outcomes import Kind, Outcome
from outbox.sending import send
from tests.outbox.conftest import Outbox
from tests.outbox.recorder import Recorder
from tests.outbox.test_relay.kit import JOB, OTHER, make, running
from tests.processes import eventually


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

    def test_defect_3_7_a_batch_is_counted_once(self, outbox: Outbox) -> None:
        outbox.publish(JOB, *range(300))
        recorder = Recorder()
        relay = outbox.relay(recorder)

        relay.run()

        counts = relay.counts
        assert (counts.delivered, counts.batches) == (300, len(recorder.batches))
        assert counts.batches < 10

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

    @pytest.mark.parametrize(
        "text",
        ['{"n": %s}' % ("9" * 5_000), '{"a":' * 2_000 + "1" + "}" * 2_000],
        ids=["digits", "nested"],
    )
    def test_metadata_that_python_cannot_read_stops_nobody(self, outbox: Outbox, text: str) -> None:
        outbox.publish(JOB, 1)
        outbox.publish(OTHER, 2)
        outbox.execute(
            "UPDATE outbox_events SET metadata = %s::jsonb WHERE payload ->> 'n' = '1'", [text]
        )

        recorder = outbox.drain()

        assert sorted(recorder.numbers) == [1, 2]
        (odd,) = [event for event in recorder.delivered if event.metadata]
        # How deep Python reads depends on its version; what it can read is as it was written.
        assert odd.metadata.get("value", text).startswith(text[:4])
        assert set(odd.metadata) in ({"value"}, {"a"})

    @pytest.mark.parametrize(
        ("time", "year"),
        [("infinity", 9999), ("-infinity", 1), ("0044-03-15 BC", 1), ("12026-01-01", 9999)],
    )
    def test_a_time_that_python_cannot_tell_stops_nobody(
        self, outbox: Outbox, time: str, year: int
    ) -> None:
        outbox.publish(JOB, 1)
        outbox.publish(OTHER, 2)
        outbox.execute(
            "UPDATE outbox_events SET created_at = %s WHERE payload ->> 'n' = '1'", [time]
        )

        found = {event.payload["n"]: event for event in outbox.drain().delivered}

        assert set(found) == {1, 2}
        assert found[1].created_at.year == year
        assert attributes(found[1], source="/x", namespace="x")["time"].startswith(f"{year:04d}-")

    def test_an_error_while_reading_passes_and_leaves_the_session_free(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It must not keep the lanes from being given back."""
        outbox.publish(JOB, 1)

        def fail(*_arguments: object) -> None:
            raise LookupError("a defect")

        monkeypatch.setattr("outbox.batches._add", fail)
        is_busy = None
        with connect("default", "reads") as session:
            try:
                Fetch("default")(session, [1])
            except LookupError:
                is_busy = session.lock.locked()

            assert is_busy is False

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

    def test_of_which_metadata_are_some(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("outbox.batches.MOST_BYTES", 10_000)
        outbox.publish(JOB, *range(20), metadata={"x": "y" * 4_000})

        recorder = outbox.drain()

        assert recorder.numbers == list(range(20))
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


class TestBadPublishers:
    @pytest.mark.parametrize("kind", [ValueError, SystemExit, asyncio.CancelledError])
    def test_one_that_raises_is_tried_with_each_event(self, kind: type[BaseException]) -> None:
        class Breaks(Recorder):
            def send_batch(self, events: Any) -> Any:
                if any(event.payload["n"] == 2 for event in events):
                    raise kind("two is odd")
                return super().send_batch(events)

        outcomes = send(Breaks(), [make(1, 1), make(1, 2), make(1, 3), make(2, 4)])

        assert [outcome.kind for outcome in outcomes] == [
            "delivered",
            "rejected",
            "held",
            "delivered",
        ]
        assert outcomes[1][1:3] == (kind.__name__, "two is odd")

    def test_one_that_cannot_be_opened_is_opened_later(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The relay of another destination, in the same process, would hide that it is gone."""
        monkeypatch.setattr("outbox.relay.RECONNECTS", Backoff(base=0.01, cap=0.02))

        class Late(Recorder):
            def open(self) -> None:
                super().open()
                if self.opened < 3:
                    raise LookupError("not yet")

        outbox.publish(JOB, 1)
        late = Late()

        with running(outbox.relay(late, once=False)):
            assert eventually(lambda: late.numbers == [1])

        assert (late.opened, late.closed) == (3, 3)

    def test_what_ends_a_relay_while_it_sends_leaves_its_lanes_as_a_crash_does(
        self, outbox: Outbox
    ) -> None:
        """So that an event that does it to each of them is found out."""

        class Ended(BaseException):
            pass

        def end(_event: Event) -> Outcome:
            raise Ended

        outbox.publish(JOB, 1)
        with pytest.raises(Ended):
            outbox.drain(end)

        assert outbox.value("SELECT count(*) FROM outbox_lanes WHERE owner IS NOT NULL") == 64
        assert outbox.value("SELECT count(*) FROM outbox_relays") == 0

    def test_one_that_miscounts_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        class Forgets(Recorder):
            def send_batch(self, events: Any) -> Any:
                return super().send_batch(events)[1:]

        (outcome,) = send(Forgets(), [make(1, 1)])

        assert outcome.message == "send_batch returned 0 outcomes for 1 events"

    @pytest.mark.parametrize("odd", [None, "delivered", Outcome("delivered")])  # type: ignore[arg-type]
    def test_one_that_returns_something_else_is_told(self, odd: Any) -> None:
        class Strange(Recorder):
            def send_batch(self, events: Any) -> Any:
                found = super().send_batch(events)
                pairs = zip(events, found, strict=True)
                return [odd if event.payload["n"] == 2 else one for event, one in pairs]

        outcomes = send(Strange(), [make(1, 1), make(2, 2), make(3, 3)])

        assert [one.kind for one in outcomes] == ["delivered", "rejected", "delivered"]
        assert outcomes[1].message == f"send_batch returned {odd!r}, which is no Outcome"

    @pytest.mark.parametrize("kind", [Kind.REJECTED, Kind.DOWN])
    def test_one_that_asks_for_an_endless_pause_stops_nobody(
        self, outbox: Outbox, kind: Kind
    ) -> None:
        """Before PostgreSQL 17 it cannot be added to a time, which was taken for a database that
        is away; from then on the event would never go."""
        outbox.publish(JOB, 1)
        outcome = Outcome(kind, 503, None, float("inf"))  # type: ignore[arg-type]

        outbox.drain(lambda event: outcome)

        assert outbox.statuses() == {1: "PENDING"}
        if kind is Kind.REJECTED:
            assert outbox.rows(
                "SELECT k.retry_at < now() + interval '2 days', e.error_class, e.last_error "
                "FROM outbox_keys AS k, outbox_events AS e"
            ) == [(True, "503", "503")]
