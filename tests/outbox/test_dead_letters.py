"""What one person does with one dead letter, and two with the same."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import transaction

from hodei.sessions import connect
from hodei.sql import statement
from outbox.conf import SKIP, Destination
from outbox.events import EventInvalid
from outbox.outcomes import rejected
from outbox.services import dead_letters
from outbox.services.dead_letters import (
    AlreadyDealtWith,
    AlreadyPublished,
    DeadLetterError,
    IdempotencyKeyTaken,
    NoSuchDeadLetter,
    NotClosed,
)
from outbox.services.dead_letters.resending import merge_patch
from outbox.states import DEAD_LETTER_TRANSITIONS, DeadLetterState
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, event_of, in_thread, refusing, together
from tests.processes import eventually

BY = {"by": "anna", "note": "the hook has moved"}
Act = Callable[..., Any]


def actions(outbox: Outbox, letter: uuid.UUID) -> list[tuple[Any, ...]]:
    return outbox.rows(
        "SELECT action, actor, note FROM outbox_dlq_actions WHERE dlq_id = %s ORDER BY id", [letter]
    )


def state(letter: uuid.UUID) -> DeadLetterState:
    return dead_letters.get(letter).letter.state


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

            assert len(list(sleeper.notifies(timeout=10, stop_after=1))) == 1

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


def waiting(outbox: Outbox) -> int:
    """How many sessions of this database wait for a lock."""
    # Inside of a transaction the server would go on telling what it saw first.
    outbox.execute("SELECT pg_stat_clear_snapshot()")
    found: int = outbox.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock'"
    )
    return found


class TestResolveAndDiscard:
    @pytest.mark.parametrize(("act", "end"), [("resolve", "RESOLVED"), ("discard", "DISCARDED")])
    def test_it_is_not_sent_and_what_waits_goes_on_in_order(
        self, inside: Outbox, act: str, end: str
    ) -> None:
        letter = die(inside, JOB, 1, *range(2, 20))
        inside.publish(JOB, 20)

        getattr(dead_letters, act)(letter, **BY)

        assert inside.drain().numbers == list(range(2, 21))
        assert state(letter) == end
        assert actions(inside, letter)[1:] == [(end, "anna", "the hook has moved")]
        assert inside.value("SELECT count(*) FROM outbox_keys") == 0
        assert inside.statuses()[1] == "FAILED"

    def test_what_others_wait_behind_is_left_alone(self, inside: Outbox) -> None:
        letter, other = die(inside, JOB, 1, 2), die(inside, OTHER, 3, 4)

        dead_letters.resolve(letter, **BY)

        assert inside.drain().numbers == [2]
        assert dead_letters.get(other).followers == 1

    def test_an_aggregate_that_waits_for_a_retry_is_left_alone(self, inside: Outbox) -> None:
        skip = Destination(name="default", publisher="unused", on_death=SKIP)
        inside.publish(JOB, 1)
        inside.drain(refusing(1), destination=skip)
        letter = inside.value("SELECT id FROM outbox_dlq")
        inside.publish(JOB, 2, 3)
        inside.drain(refusing(2, outcome=rejected("busy", "later")))

        dead_letters.resolve(letter, **BY)

        assert inside.value("SELECT state FROM outbox_keys") == "BACKOFF"
        assert inside.drain().numbers == []


class TestRestore:
    @pytest.mark.parametrize("act", [dead_letters.discard, dead_letters.resolve])
    def test_it_is_open_again_and_can_be_sent(self, inside: Outbox, act: Act) -> None:
        letter = die(inside, JOB, 1)
        act(letter, **BY)

        dead_letters.restore(letter, by="ben", note="it is needed after all")

        found = dead_letters.get(letter)
        assert found.letter.state is DeadLetterState.OPEN
        assert (found.letter.resolved_by, found.letter.note) == (None, None)
        assert [one.actor for one in found.actions[1:]] == ["anna", "ben"]
        dead_letters.requeue(letter, **BY)
        assert inside.drain().numbers == [1]

    def test_what_is_open(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)

        with pytest.raises(NotClosed, match="is open: there is nothing to restore"):
            dead_letters.restore(letter, **BY)

    def test_what_was_sent_cannot_be_called_back(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)
        dead_letters.requeue(letter, **BY)

        with pytest.raises(AlreadyDealtWith, match="was requeued by anna"):
            dead_letters.restore(letter, **BY)


class TestDealtWith:
    @pytest.mark.parametrize("second", ["requeue", "resolve", "discard"])
    @pytest.mark.parametrize(
        ("first", "end"),
        [("requeue", "requeued"), ("resolve", "resolved"), ("discard", "discarded")],
    )
    def test_defect_3_7_a_second_action_is_refused_and_told_who_was_first(
        self, inside: Outbox, first: str, end: str, second: str
    ) -> None:
        letter = die(inside, JOB, 1)
        getattr(dead_letters, first)(letter, **BY)
        before = actions(inside, letter)

        when = r"at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(the hook has moved\)"
        with pytest.raises(AlreadyDealtWith, match=f"was {end} by anna {when}") as caught:
            getattr(dead_letters, second)(letter, by="ben", note="me too")

        assert (caught.value.state, caught.value.by) == (end.upper(), "anna")
        assert isinstance(caught.value.at, datetime)
        assert actions(inside, letter) == before

    def test_what_the_original_resolved_counts(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)
        inside.execute("UPDATE outbox_dlq SET resolved_at = now()")

        with pytest.raises(AlreadyDealtWith, match="was resolved by unknown"):
            dead_letters.requeue(letter, **BY)

    @pytest.mark.parametrize("act", ["requeue", "resolve", "discard", "restore"])
    def test_defect_3_7_what_is_not_there(self, inside: Outbox, act: str) -> None:
        with pytest.raises(NoSuchDeadLetter, match=str(JOB)):
            getattr(dead_letters, act)(JOB, **BY)

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("", "it is a text"),
            (" \n", "it is a text"),
            (None, "it is a text"),
            (7, "it is a text"),
            ("x\0", "cannot store"),
            ("\ud800", "cannot store"),
            ("x" * 2_001, "has 2001 characters"),
        ],
    )
    @pytest.mark.parametrize("what", ["by", "note"])
    def test_bad_input_changes_nothing(
        self, inside: Outbox, what: str, value: Any, told: str
    ) -> None:
        letter = die(inside, JOB, 1)

        for act in (dead_letters.requeue, dead_letters.resolve, dead_letters.discard):
            with pytest.raises(ValueError, match=told):
                act(letter, **{**BY, what: value})

        assert state(letter) is DeadLetterState.OPEN
        assert len(actions(inside, letter)) == 1

    def test_hostile_text_is_only_text(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)
        hostile = "'; DROP TABLE outbox_dlq; -- %s %(x)s 💥\n</td>"

        dead_letters.discard(letter, by=hostile, note=hostile)

        assert actions(inside, letter)[1][1:] == (hostile, hostile)


class TestAtOnce:
    @pytest.mark.parametrize(
        "pair",
        [
            ("requeue", "requeue"),
            ("resolve", "requeue"),
            ("discard", "resolve"),
            ("resend", "requeue"),
        ],
    )
    def test_one_wins(self, outbox: Outbox, pair: tuple[str, str]) -> None:
        for round_ in range(5):
            letter = die(outbox, uuid.uuid4(), round_)

            found = together(
                *(self.call(act, letter, f"person {place}") for place, act in enumerate(pair))
            )

            won = [place for place in (0, 1) if not isinstance(found[place], Exception)]
            (loser,) = (one for one in found if isinstance(one, Exception))
            assert isinstance(loser, AlreadyDealtWith)
            assert loser.by == f"person {won[0]}"
            assert len(actions(outbox, letter)) == 2
        delivered = [event.payload["n"] for event in outbox.drain().delivered]
        assert len(delivered) == len(set(delivered))

    def test_one_wins_where_the_event_is_gone(self, outbox: Outbox) -> None:
        for round_ in range(5):
            letter = die(outbox, uuid.uuid4(), round_)
            outbox.execute("DELETE FROM outbox_events WHERE status = 'FAILED'")

            found = together(self.call("requeue", letter, "a"), self.call("resolve", letter, "b"))

            assert sum(isinstance(one, AlreadyDealtWith) for one in found) == 1
            assert len(actions(outbox, letter)) == 2

    def test_a_delivery_at_the_same_moment_is_waited_for(self, outbox: Outbox) -> None:
        letter = die(outbox, JOB, 1)
        outbox.execute("UPDATE outbox_events SET status = 'PENDING'")
        with transaction.atomic():
            outbox.execute("UPDATE outbox_events SET status = 'PUBLISHED', published_at = now()")
            thread, found = in_thread(lambda: dead_letters.requeue(letter, **BY))
            assert eventually(lambda: waiting(outbox) == 1)
        thread.join(30)

        assert isinstance(found[0], AlreadyPublished)

    @staticmethod
    def call(act: str, letter: uuid.UUID, by: str) -> Callable[[], Any]:
        if act == "resend":
            return lambda: dead_letters.edit_and_resend(
                letter, payload={"n": -1}, by=by, note="at once"
            )
        return lambda: getattr(dead_letters, act)(letter, by=by, note="at once")

    def test_the_second_waits_for_the_first_and_is_refused(self, outbox: Outbox) -> None:
        letter = die(outbox, JOB, 1, 2)
        with transaction.atomic():
            dead_letters.requeue(letter, **BY)
            thread, found = in_thread(lambda: dead_letters.resolve(letter, by="ben", note="me"))
            assert eventually(lambda: waiting(outbox) == 1)
        thread.join(30)

        assert isinstance(found[0], AlreadyDealtWith)
        assert found[0].by == "anna"
        assert outbox.drain().numbers == [1, 2]

    def test_or_goes_on_if_the_first_is_rolled_back(self, outbox: Outbox) -> None:
        letter = die(outbox, JOB, 1, 2)
        with transaction.atomic():
            dead_letters.requeue(letter, **BY)
            thread, found = in_thread(lambda: dead_letters.resolve(letter, by="ben", note="me"))
            assert eventually(lambda: waiting(outbox) == 1)
            transaction.set_rollback(True)
        thread.join(30)

        assert found[0].letter_id == letter
        assert outbox.drain().numbers == [2]

    def test_what_a_relay_puts_aside_meanwhile_is_let_go_too(self, outbox: Outbox) -> None:
        """The relay has met a follower and holds the key's row: the release waits for it."""
        letter = die(outbox, JOB, 1)
        (follower,) = outbox.publish(JOB, 2)
        (key,) = outbox.rows("SELECT id FROM outbox_keys")[0]
        with connect("default", "relay") as relay:
            with relay.transaction():
                relay.execute(
                    statement("outbox", "hold_behind"), {"ids": [follower], "keys": [key]}
                )
                thread, found = in_thread(lambda: dead_letters.resolve(letter, **BY))
                assert eventually(lambda: waiting(outbox) == 1)
            thread.join(30)

        assert found[0].letter_id == letter
        assert outbox.rows("SELECT held FROM outbox_events WHERE id = %s", [follower]) == [(False,)]
        assert outbox.drain().numbers == [2]

    def test_a_death_and_a_requeue_of_the_same_letter(self, outbox: Outbox) -> None:
        """The event dies for the second time while somebody requeues its letter."""
        letter = die(outbox, JOB, 1)
        dead_letters.requeue(letter, **BY)
        results: list[Any] = []

        def judge(event: Any) -> Any:
            results.extend(together(lambda: dead_letters.requeue(letter, by="ben", note="again")))
            return refusing(1)(event)

        outbox.drain(judge)

        assert isinstance(results[0], AlreadyDealtWith)
        assert state(letter) is DeadLetterState.OPEN


class TestEditAndResend:
    def test_a_copy_takes_its_place(self, inside: Outbox) -> None:
        metadata = {"correlation_id": "c", "causation_id": "before"}
        (event_id,) = inside.publish("order 7", 1, idempotency_key="k", metadata=metadata)
        inside.publish("order 7", 2, 3)
        inside.drain(refusing(1))
        letter = dead_letters.get(event_id).letter

        copy = dead_letters.edit_and_resend(letter.id, payload={"n": 10}, **BY)

        recorder = inside.drain()
        assert recorder.numbers == [10, 2, 3]
        event = recorder.delivered[0]
        assert event.id == copy != event_id
        assert (event.seq, event.subject, event.idempotency_key) == (letter.seq, "order 7", None)
        assert event.metadata == {"correlation_id": "c", "causation_id": str(event_id)}
        assert state(letter.id) is DeadLetterState.RESENT
        assert dead_letters.get(letter.id).actions[-1].details == {"event_id": str(copy)}
        assert inside.value("SELECT count(*) FROM outbox_keys") == 0

    def test_nothing_passes_the_copy_while_it_is_tried(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)
        dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)

        assert inside.drain(refusing(10, outcome=rejected("busy", "later"))).numbers == []

        inside.execute("UPDATE outbox_keys SET retry_at = now()")
        assert inside.drain().numbers == [10, 2]

    def test_the_copy_may_die_as_well(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)
        copy = dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)
        inside.drain(refusing(10))

        found = dead_letters.get(copy)

        assert found.letter.id != letter
        assert (found.followers, found.letter.holds) == (1, True)
        assert found.metadata == {"causation_id": str(event_of(inside, letter))}

    def test_where_nothing_waits_it_goes_last(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)
        dead_letters.discard(letter, **BY)
        dead_letters.restore(letter, **BY)

        dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)

        assert inside.drain().numbers == [2, 10]

    def test_it_goes_where_the_original_was_to_go(self, inside: Outbox, settings: Any) -> None:
        letter = die(inside, JOB, 1)
        publisher = {"PUBLISHER": "outbox.publishers.console.ConsolePublisher"}
        settings.HODEI_OUTBOX = {"DESTINATIONS": {"new": publisher}, "ROUTES": {"*": "new"}}

        dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)

        assert inside.drain().numbers == [10]

    def test_metadata_of_ones_own(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)

        dead_letters.edit_and_resend(letter, payload={"n": 10}, metadata={"a": 1}, **BY)

        (event,) = inside.drain().delivered
        assert event.metadata == {"a": 1, "causation_id": str(event_of(inside, letter))}

    @pytest.mark.parametrize(
        ("payload", "told"),
        [
            ({"n": float("nan")}, "payload cannot be JSON"),
            ({"n": "\0"}, "NUL"),
            ({"n": "x" * 300_000}, "at most 262,144 are allowed"),
            ({"n": object()}, "payload cannot be JSON"),
            ({"n": 1, "token": "[redacted]"}, "screens put in place of secrets"),
        ],
    )
    def test_bad_payloads_change_nothing(self, inside: Outbox, payload: Any, told: str) -> None:
        letter = die(inside, JOB, 1)

        with pytest.raises(EventInvalid, match=told):
            dead_letters.edit_and_resend(letter, payload=payload, **BY)

        assert state(letter) is DeadLetterState.OPEN
        assert inside.value("SELECT count(*) FROM outbox_events") == 1

    def test_a_second_time(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)
        dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)

        with pytest.raises(AlreadyDealtWith, match="was resent by anna"):
            dead_letters.edit_and_resend(letter, payload={"n": 11}, **BY)
        with pytest.raises(NoSuchDeadLetter):
            dead_letters.edit_and_resend(OTHER, payload={"n": 11}, **BY)


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        # The examples of RFC 7396, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(value: Any, patch: Any, result: Any) -> None:
    assert merge_patch(value, patch) == result


def test_the_transitions_are_those_of_the_table(inside: Outbox) -> None:
    """Every action in every state: done where the table has a way, refused where it has none."""
    ends = {
        "requeue": DeadLetterState.REQUEUED,
        "resolve": DeadLetterState.RESOLVED,
        "discard": DeadLetterState.DISCARDED,
        "resend": DeadLetterState.RESENT,
        "restore": DeadLetterState.OPEN,
    }

    def take(letter: uuid.UUID, act: str) -> None:
        if act == "resend":
            dead_letters.edit_and_resend(letter, payload={"n": -1}, **BY)
        else:
            getattr(dead_letters, act)(letter, **BY)

    cases = [(first, act) for first in (None, *ends) for act in ends]
    events = [inside.publish(uuid.uuid4(), number)[0] for number in range(len(cases))]
    inside.drain(refusing(*range(len(cases))))
    for letter, (first, act) in zip(events, cases, strict=True):
        if first == "restore":
            dead_letters.discard(letter, **BY)
        if first is not None:
            take(letter, first)
        before, end = state(letter), ends[act]
        # What was requeued is opened again by a death alone.
        allowed = end in DEAD_LETTER_TRANSITIONS[before] and before != "REQUEUED"

        if allowed:
            take(letter, act)
        else:
            with pytest.raises(DeadLetterError):
                take(letter, act)

        assert state(letter) is (end if allowed else before), (first, act)
