from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from outbox.conf import SKIP, Destination
from outbox.outcomes import rejected
from outbox.services import dead_letters
from outbox.services.dead_letters import (
    AlreadyDealtWith,
    DeadLetterError,
    NoSuchDeadLetter,
    NotClosed,
)
from outbox.states import DEAD_LETTER_TRANSITIONS, DeadLetterState
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, refusing
from tests.outbox.test_dead_letters.kit import BY, actions, state

Act = Callable[..., Any]


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
