"""How many statements each service of the outbox asks, for one and for many."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from outbox.services import dead_letters, inbox, inspection
from outbox.services.dead_letters import LetterFilter
from outbox.services.dead_letters.acting import Deed, act
from outbox.services.publish import Draft, publish_many
from outbox.states import DeadLetterAction
from tests.outbox.conftest import Outbox
from tests.outbox.dead import REFUSED
from tests.statements import statements

WHO: dict[str, Any] = {"by": "anna", "note": "enough"}


def aggregate(number: int) -> uuid.UUID:
    return uuid.UUID(int=number + 1)


def letters(outbox: Outbox, number: int) -> list[uuid.UUID]:
    """So many events die, each with a follower."""
    for one in range(number):
        outbox.publish(aggregate(one), one, -1)
    outbox.drain(lambda event: REFUSED)
    return [row[0] for row in outbox.rows("SELECT id FROM outbox_dlq ORDER BY seq")]


def drafts(number: int, *, backwards: bool = False) -> list[Draft]:
    return [
        Draft(
            event_type="Counted",
            aggregate_type="JOB",
            aggregate_id=aggregate(one),
            payload={"n": one},
            idempotency_key=f"{number - one if backwards else one:04}",
        )
        for one in range(number)
    ]


@pytest.mark.parametrize(("number", "locks"), [(1, 2), (900, 2), (1_100, 1)])
def test_publish_many_asks_as_much_for_any_number(outbox: Outbox, number: int, locks: int) -> None:
    with transaction.atomic():
        asked = statements(lambda: publish_many(drafts(number)))

    # Besides, it streams the events. Then it wakes whoever sleeps.
    assert len([one for one in asked if not one.startswith(("--", "COPY"))]) <= locks + 1
    assert len(asked) <= locks + 2


def test_publish_many_takes_numbers_where_keys_come_in_another_order(outbox: Outbox) -> None:
    with transaction.atomic():
        in_order = statements(lambda: publish_many(drafts(900)))
        transaction.set_rollback(True)
    with transaction.atomic():
        backwards = statements(lambda: publish_many(drafts(900, backwards=True)))

    assert len(backwards) == len(in_order) + 1


@pytest.mark.parametrize("number", [1, 20])
@pytest.mark.parametrize(
    ("action", "most"),
    [
        (DeadLetterAction.REQUEUED, 9),
        (DeadLetterAction.RESOLVED, 6),
        (DeadLetterAction.DISCARDED, 6),
    ],
)
def test_an_action_asks_as_much_for_any_number_of_letters(
    inside: Outbox, action: DeadLetterAction, most: int, number: int
) -> None:
    ids = letters(inside, number)
    done: list[Any] = []

    asked = statements(lambda: done.append(act(ids, Deed(action=action, **WHO), "default")))

    assert len(done[0][0]) == number
    assert len(asked) == most


@pytest.mark.parametrize("number", [1, 20])
def test_restoring_asks_as_much_for_any_number_of_letters(inside: Outbox, number: int) -> None:
    ids = letters(inside, number)
    act(ids, Deed(action=DeadLetterAction.DISCARDED, **WHO), "default")
    restored = Deed(action=DeadLetterAction.RESTORED, **WHO)

    assert len(statements(lambda: act(ids, restored, "default"))) == 3


def test_resending_asks_as_much_with_any_number_of_followers(inside: Outbox) -> None:
    (letter,) = letters(inside, 1)
    inside.publish(aggregate(0), *range(30))

    asked = statements(lambda: dead_letters.edit_and_resend(letter, payload={"n": 1}, **WHO))

    assert len(asked) == 8


@pytest.mark.parametrize("number", [1, 20])
@pytest.mark.parametrize(
    ("ask", "most"),
    [
        (dead_letters.list_letters, 1),
        (lambda: dead_letters.list_letters(LetterFilter(state=None, requeued=0)), 1),
        (lambda: dead_letters.preview(LetterFilter()), 1),
        (dead_letters.stats, 3),
        (inspection.statistics, 7),
    ],
)
def test_what_is_read_asks_as_much_for_any_number(
    inside: Outbox, ask: Callable[[], Any], most: int, number: int
) -> None:
    letters(inside, number)

    assert len(statements(ask)) == most


def test_each_word_that_somebody_types_is_one_question(inside: Outbox) -> None:
    ids = letters(inside, 3)

    assert len(statements(lambda: dead_letters.identify([str(one) for one in ids]))) == 3


def test_the_inbox_asks_once(outbox: Outbox) -> None:
    def see() -> None:
        with inbox.once("billing", "an event"):
            pass

    with transaction.atomic():
        assert len(statements(see)) == 1
        assert len(statements(see)) == 1


def test_a_bulk_action_selects_once_and_then_acts_in_portions(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.services.dead_letters.bulk.CHUNK", 4)
    letters(outbox, 10)

    asked = statements(lambda: dead_letters.requeue_where(LetterFilter(), **WHO))

    assert len(asked) == 1 + 3 * 9
