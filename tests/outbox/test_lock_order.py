"""Rows that several transactions lock are locked in one order, or without waiting: nobody waits
crosswise, which the server would end for one of the two."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import transaction

from hodei.sessions import connect
from hodei.sql import statement
from outbox.lanes import Leases
from outbox.services import dead_letters
from outbox.services.dead_letters import AlreadyDealtWith, acting
from outbox.states import DeadLetterAction
from tests.meeting import in_turns, made_to_wait, unlocked
from tests.outbox.conftest import Outbox
from tests.outbox.dead import die, event_of, refusing

WHO: dict[str, Any] = {"by": "anna", "note": "why"}
LANES = "SELECT lane FROM outbox_lanes"
EVENTS = "SELECT id FROM outbox_events"
LETTERS = "SELECT id FROM outbox_dlq"


@pytest.fixture
def session(outbox: Outbox) -> Iterator[psycopg.Connection[Any]]:
    """A connection as a relay has it."""
    with connect("default", "test of locks") as found:
        yield found


@pytest.mark.parametrize("name", ["acknowledge", "hold_lanes", "renew_lanes", "release_lanes"])
def test_lanes_are_locked_in_their_order(
    outbox: Outbox, session: psycopg.Connection[Any], name: str
) -> None:
    """By a relay that writes down what it has sent, and by its thread that renews the leases."""
    leases = Leases("default", "me")
    leases.prepare(session)
    leases.claim(session, 64)
    outbox.execute(
        "WITH gone AS (DELETE FROM outbox_lanes RETURNING *) "
        "INSERT INTO outbox_lanes OVERRIDING SYSTEM VALUE SELECT * FROM gone ORDER BY lane DESC"
    )
    given = leases.arguments()
    asked = {
        "destination": "default",
        "owner": "me",
        "lanes": given["lanes"][::-1],
        "fences": given["fences"][::-1],
        "ids": [uuid.uuid4()],
        "seconds": 60.0,
    }

    with made_to_wait(
        f"{LANES} WHERE lane = 0 FOR UPDATE",
        lambda: session.execute(statement("outbox", name), asked).rowcount,
    ) as found:
        assert set(unlocked(LANES)) == set(range(1, 64))

    assert found == [64]


class TestReports:
    def test_relays_that_come_back_together_do_not_wait_for_each_other(
        self, outbox: Outbox
    ) -> None:
        """The database was away so long that each of them seems to be dead."""

        def report(owner: str) -> Any:
            asked = {
                "destination": "default",
                "owner": owner,
                "wakes_by": "polling",
                "breaker": "CLOSED",
                "breaker_error": None,
                "seconds": 15.0,
            }
            with connect("default", owner) as own:
                return own.execute(statement("outbox", "report_relay"), asked).fetchall()

        def prepare() -> None:
            outbox.execute(
                "DELETE FROM outbox_relays; "
                "INSERT INTO outbox_relays (destination, owner, seen_at) "
                "SELECT 'default', owner, now() - interval '1 h' "
                "FROM unnest(%s::text[]) AS r (owner)",
                [["one", "other", "dead"]],
            )

        for _nothing, one, other in in_turns(
            lambda _: report("one"), lambda _: report("other"), prepare=prepare
        ):
            assert not isinstance(one, Exception), one
            assert not isinstance(other, Exception), other
        prepare()
        with made_to_wait(
            "SELECT FROM outbox_relays WHERE owner = 'one' FOR UPDATE", lambda: report("one")
        ):
            # It has nobody else's row while it waits for its own.
            assert set(unlocked("SELECT owner FROM outbox_relays")) == {"other", "dead"}
        prepare()
        with transaction.atomic():
            outbox.execute("SELECT FROM outbox_relays WHERE owner = 'other' FOR UPDATE")
            assert report("one") == [(1, 0)]
        assert outbox.rows("SELECT owner FROM outbox_relays ORDER BY owner") == [
            ("one",),
            ("other",),
        ]


class TestLetters:
    def dead(self, outbox: Outbox, number: int) -> list[uuid.UUID]:
        """Letters in the order of their events."""
        for n in range(number):
            die(outbox, uuid.uuid4(), n)
        return [
            row[0] for row in outbox.rows("SELECT id FROM outbox_dlq ORDER BY original_event_id")
        ]

    def test_what_is_on_its_way_again_is_the_relays_alone(self, outbox: Outbox) -> None:
        """Somebody decides once more about letters whose events are just being delivered: in the
        order of letters, when the relay has another."""
        letters = self.dead(outbox, 3)
        for letter in letters:
            dead_letters.requeue(letter, **WHO)

        with transaction.atomic():
            for letter in letters:
                with pytest.raises(AlreadyDealtWith):
                    dead_letters.requeue(letter, **WHO)

            assert unlocked(LETTERS) == []
            assert len(unlocked(EVENTS)) == 3

    def test_a_relay_that_buries_takes_the_letters_first(self, outbox: Outbox) -> None:
        """In the order of their events, and no event before it has all of them."""
        letters = self.dead(outbox, 3)
        for letter in letters:
            dead_letters.requeue(letter, **WHO)

        with made_to_wait(
            f"{LETTERS} WHERE id = %s FOR UPDATE",
            lambda: outbox.drain(refusing(*range(3))),
            parameters=[letters[0]],
        ):
            assert set(unlocked(LETTERS)) == set(letters[1:])
            assert len(unlocked(EVENTS)) == 3

        assert outbox.value("SELECT count(*) FROM outbox_dlq WHERE resolved_at IS NULL") == 3

    @pytest.mark.parametrize("by_event", [False, True])
    def test_people_take_them_in_the_same_order(self, outbox: Outbox, by_event: bool) -> None:
        letters = self.dead(outbox, 4)
        asked = [event_of(outbox, letter) if by_event else letter for letter in letters[::-1]]
        deed = acting.Deed(action=DeadLetterAction.DISCARDED, **WHO)

        with made_to_wait(
            f"{LETTERS} WHERE id = %s FOR UPDATE",
            lambda: acting.act(asked, deed, "default"),
            parameters=[letters[0]],
        ) as found:
            assert set(unlocked(LETTERS)) == set(letters[1:])

        done, refused = found[0]
        assert (len(done), refused) == (4, [])
