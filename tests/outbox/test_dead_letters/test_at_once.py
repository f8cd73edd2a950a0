from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from hodei.sessions import connect
from hodei.sql import statement
from outbox.services import dead_letters
from outbox.services.dead_letters import (
    AlreadyDealtWith,
    AlreadyPublished,
)
from outbox.states import DeadLetterState
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, die, in_thread, refusing, together
from tests.outbox.test_dead_letters.kit import BY, actions, state, waiting
from tests.processes import eventually


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
