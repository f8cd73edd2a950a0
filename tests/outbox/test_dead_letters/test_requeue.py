from __future__ import annotations

import pytest
from django.db import transaction

from hodei.sessions import connect
from outbox.conf import SKIP, Destination
from outbox.outcomes import rejected
from outbox.services import dead_letters
from outbox.services.dead_letters import (
    AlreadyPublished,
    IdempotencyKeyTaken,
)
from outbox.states import DeadLetterState
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, event_of, in_thread, refusing
from tests.outbox.test_dead_letters.kit import BY, actions, state, waiting
from tests.processes import eventually


class TestRequeue:
    def test_the_same_event_goes_first_and_what_waits_follows_in_order(
        self, inside: Outbox
    ) -> None:
        letter = die(inside, JOB, 1, 2, 3)
        before = inside.rows("SELECT id, seq, created_at FROM outbox_events ORDER BY seq")
        inside.publish(JOB, 4)

        done = dead_letters.requeue(letter, **BY)

        assert done == (letter, event_of(inside, letter), None)
        recorder = inside.drain()
        assert recorder.numbers == [1, 2, 3, 4]
        assert recorder.delivered[0].id == before[0][0]
        assert recorder.delivered[0].attempt == 1
        found = inside.rows("SELECT id, seq, created_at FROM outbox_events ORDER BY seq")
        assert found[:3] == before
        assert inside.value("SELECT count(*) FROM outbox_keys") == 0

    def test_nothing_passes_it_while_it_is_tried(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)
        dead_letters.requeue(letter, **BY)

        recorder = inside.drain(refusing(1, outcome=rejected("busy", "later")))

        assert [[event.payload["n"] for event in batch] for batch in recorder.batches] == [[1]]
        inside.execute("UPDATE outbox_keys SET retry_at = now()")
        assert inside.drain().numbers == [1, 2]

    def test_its_aggregate_waits_for_a_relay_and_for_nobody_else(self, inside: Outbox) -> None:
        """Where the relay dies after it, the next one lets go what waits: see ``settled_heads``."""
        letter = die(inside, JOB, 1, 2)

        dead_letters.requeue(letter, **BY)

        assert inside.rows("SELECT state, event_id, retry_at, dead_letter_id FROM outbox_keys") == [
            ("BACKOFF", event_of(inside, letter), None, None)
        ]
        inside.execute("UPDATE outbox_events SET status = 'PUBLISHED' WHERE NOT held")
        assert inside.drain().numbers == [2]

    def test_it_is_on_record(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)

        dead_letters.requeue(letter, **BY)

        assert actions(inside, letter)[1:] == [("REQUEUED", "anna", "the hook has moved")]
        found = dead_letters.get(letter)
        assert found.letter.state is DeadLetterState.REQUEUED
        assert found.letter.resolved_by == "anna"
        assert found.letter.resolved_at == found.actions[-1].at

    def test_it_has_all_its_attempts_again(self, inside: Outbox) -> None:
        few = Destination(name="default", publisher="unused", max_attempts=2)
        inside.publish(JOB, 1)
        for _ in range(2):
            inside.drain(refusing(1, outcome=rejected("busy", "later")), destination=few)
            inside.execute("UPDATE outbox_keys SET retry_at = now() WHERE state = 'BACKOFF'")
        letter = inside.value("SELECT id FROM outbox_dlq")

        dead_letters.requeue(letter, **BY)

        assert inside.rows(
            "SELECT status, held, retry_count, last_error, error_class, fingerprint, "
            "next_attempt_at, attempts_started - attempts_finished FROM outbox_events"
        ) == [("PENDING", False, 0, None, None, None, None, 0)]

    def test_defect_3_7_a_second_death_opens_the_same_letter(self, inside: Outbox) -> None:
        """The original ignored a second letter of the same event, and so lost it."""
        letter = die(inside, JOB, 1)
        dead_letters.requeue(letter, **BY)
        inside.drain(refusing(1))

        assert state(letter) is DeadLetterState.OPEN
        assert [row[0] for row in actions(inside, letter)] == ["DIED", "REQUEUED", "DIED"]
        assert dead_letters.get(letter).letter.requeues == 1
        dead_letters.requeue(letter, by="ben", note="once more")
        assert inside.drain().numbers == [1]

    def test_by_the_id_of_its_event(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)

        assert dead_letters.requeue(event_of(inside, letter), **BY).letter_id == letter

    def test_it_joins_the_callers_transaction(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)

        with transaction.atomic():
            dead_letters.requeue(letter, **BY)
            transaction.set_rollback(True)

        assert state(letter) is DeadLetterState.OPEN
        assert inside.drain().numbers == []

    def test_it_wakes_the_relay(self, outbox: Outbox) -> None:
        letter = die(outbox, JOB, 1)
        lane = JOB.bytes[-1] & 63
        with connect("default", "a sleeper") as sleeper:
            sleeper.execute("LISTEN hodei_outbox")
            sleeper.execute("SELECT pg_advisory_lock(%s, %s)", [0x6F757402, lane])

            dead_letters.requeue(letter, **BY)

            assert len(list(sleeper.notifies(timeout=30, stop_after=1))) == 1

    def test_behind_another_dead_letter_it_waits_and_says_so(self, inside: Outbox) -> None:
        first = die(inside, JOB, 1, 2)
        dead_letters.discard(first, **BY)
        inside.drain(refusing(2))
        dead_letters.restore(first, **BY)
        head = inside.value("SELECT event_id FROM outbox_keys")

        assert dead_letters.requeue(first, **BY).waits_behind == head

        assert inside.drain().numbers == []
        dead_letters.resolve(head, **BY)
        assert inside.drain().numbers == [1]

    def test_where_its_destination_skips_the_dead_it_simply_goes(self, inside: Outbox) -> None:
        skip = Destination(name="default", publisher="unused", on_death=SKIP)
        inside.publish(JOB, 1, 2)
        assert inside.drain(refusing(1), destination=skip).numbers == [2]
        letter = inside.value("SELECT id FROM outbox_dlq")

        dead_letters.requeue(letter, **BY)

        assert inside.drain(destination=skip).numbers == [1]


class TestRequeueOfWhatIsGone:
    def test_defect_b7_it_is_made_again_from_the_letter(self, inside: Outbox) -> None:
        """The original deleted the letter, updated no row, and said that all was well."""
        options = {"idempotency_key": "k", "version": 3, "metadata": {"correlation_id": "c"}}
        (event_id,) = inside.publish("order 7", 1, **options)
        inside.drain(refusing(1))
        before = inside.rows("SELECT seq, created_at, lane FROM outbox_events")
        inside.execute("DELETE FROM outbox_events")

        dead_letters.requeue(event_id, **BY)

        assert inside.rows("SELECT seq, created_at, lane FROM outbox_events") == before
        (event,) = inside.drain().delivered
        assert (event.id, event.subject, event.version) == (event_id, "order 7", 3)
        assert (event.idempotency_key, event.metadata) == ("k", {"correlation_id": "c"})
        assert event.payload == {"n": 1}
        assert inside.value("SELECT count(*) FROM outbox_dlq") == 1

    def test_it_goes_before_what_waits_behind_it(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2, 3)
        inside.execute("DELETE FROM outbox_events WHERE status = 'FAILED'")

        dead_letters.requeue(letter, **BY)

        assert inside.drain().numbers == [1, 2, 3]

    def test_what_the_original_left_has_no_number(self, inside: Outbox) -> None:
        inside.publish(JOB, 1)
        inside.execute(
            "INSERT INTO outbox_dlq (original_event_id, aggregate_id, aggregate_type, event_type, "
            "payload, error_message, retry_count, original_created_at) VALUES (gen_random_uuid(), "
            "%s, 'JOB', 'JobCreated', '{\"n\": 2}', 'gone', 3, '2025-12-30T00:00:00Z')",
            [JOB],
        )

        dead_letters.requeue(inside.value("SELECT id FROM outbox_dlq"), **BY)

        assert inside.drain().numbers == [1, 2]

    def test_defect_b9_its_idempotency_key_may_be_anothers_by_now(self, inside: Outbox) -> None:
        """A key is known as long as its event is there."""
        inside.publish(JOB, 1, idempotency_key="k")
        inside.drain(refusing(1))
        letter = inside.value("SELECT id FROM outbox_dlq")
        inside.execute("DELETE FROM outbox_events")
        (other,) = inside.publish(JOB, 2, idempotency_key="k")

        with pytest.raises(IdempotencyKeyTaken, match=f"event {other} has its idempotency key 'k'"):
            dead_letters.requeue(letter, **BY)

        assert state(letter) is DeadLetterState.OPEN

    def test_it_may_become_anothers_at_this_moment(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, idempotency_key="k")
        outbox.drain(refusing(1))
        letter = outbox.value("SELECT id FROM outbox_dlq")
        outbox.execute("DELETE FROM outbox_events")
        with transaction.atomic():
            outbox.publish(OTHER, 2, idempotency_key="k")
            thread, found = in_thread(lambda: dead_letters.requeue(letter, **BY))
            assert eventually(lambda: waiting(outbox) == 1)
        thread.join(30)

        assert isinstance(found[0], IdempotencyKeyTaken)
        assert state(letter) is DeadLetterState.OPEN

    def test_what_was_delivered_after_all_is_not_repeated(self, inside: Outbox) -> None:
        """The original moved events to its queue and left them pending."""
        letter = die(inside, JOB, 1)
        inside.execute("UPDATE outbox_events SET status = 'PENDING'")
        inside.execute("UPDATE outbox_keys SET state = 'BACKOFF'")
        assert inside.drain().numbers == [1]

        with pytest.raises(AlreadyPublished, match=r"was published at .* Resolve the dead letter"):
            dead_letters.requeue(letter, **BY)

        dead_letters.resolve(letter, **BY)

    def test_what_was_never_taken_away_goes_at_once(self, inside: Outbox) -> None:
        """The original moved events to its queue and left them pending: this one was tried, too."""
        inside.publish(JOB, 1, 2)
        inside.drain(refusing(1, outcome=rejected("busy", "later")))
        inside.execute(
            "INSERT INTO outbox_dlq (original_event_id, aggregate_id, aggregate_type, event_type, "
            "payload, error_message, retry_count, original_created_at) SELECT id, aggregate_id, "
            "aggregate_type, event_type, payload, 'x', 3, created_at FROM outbox_events "
            "WHERE payload ->> 'n' = '1'"
        )

        dead_letters.requeue(inside.value("SELECT id FROM outbox_dlq"), **BY)

        assert inside.drain().numbers == [1, 2]
