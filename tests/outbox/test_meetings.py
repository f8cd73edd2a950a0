"""Two who decide about one dead letter, publish under one key or see one event at once, and the
relay and the retention that work meanwhile: it is done once, and nobody waits crosswise."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from outbox.conf import Retention
from outbox.services import dead_letters, inbox
from outbox.services.publish import DuplicateEvent, publish
from outbox.services.retention import PruneBusy, prune
from tests.meeting import in_turns, kinds
from tests.outbox.conftest import Outbox
from tests.outbox.dead import die

WHO: dict[str, Any] = {"by": "anna", "note": "why"}
ACTS = ("requeue", "resolve", "discard")


def by(name: str) -> Callable[[uuid.UUID], Any]:
    return lambda letter: getattr(dead_letters, name)(letter, **WHO)


@pytest.fixture
def letter(outbox: Outbox) -> Callable[[], uuid.UUID]:
    numbers = iter(range(1, 1_000_000, 2))

    def make() -> uuid.UUID:
        number = next(numbers)
        return die(outbox, number, number, number + 1)

    return make


@pytest.mark.parametrize("first", ACTS)
@pytest.mark.parametrize("second", ACTS)
def test_two_decisions_about_one_letter(
    outbox: Outbox, letter: Callable[[], uuid.UUID], first: str, second: str
) -> None:
    for found, one, other in in_turns(by(first), by(second), prepare=letter):
        assert kinds(one, other) == ["AlreadyDealtWith", "Done"]
        assert (
            outbox.value(
                "SELECT count(*) FROM outbox_dlq_actions WHERE dlq_id = %s AND action <> 'DIED'",
                [found],
            )
            == 1
        )


def test_a_letter_is_discarded_and_restored(
    outbox: Outbox, letter: Callable[[], uuid.UUID]
) -> None:
    for found, one, other in in_turns(by("discard"), by("restore"), prepare=letter):
        assert kinds(one) == ["Done"]
        assert kinds(other) in (["Done"], ["NotClosed"])
        is_open = outbox.value("SELECT resolved_at IS NULL FROM outbox_dlq WHERE id = %s", [found])
        assert is_open is (kinds(other) == ["Done"])


def test_a_letter_is_restored_once(outbox: Outbox, letter: Callable[[], uuid.UUID]) -> None:
    def discarded() -> uuid.UUID:
        found = letter()
        dead_letters.discard(found, **WHO)
        return found

    for _found, one, other in in_turns(by("restore"), by("restore"), prepare=discarded):
        assert kinds(one, other) == ["Done", "NotClosed"]


@pytest.mark.parametrize("act", ["requeue", "resolve"])
def test_a_decision_meets_the_relay(
    outbox: Outbox, letter: Callable[[], uuid.UUID], act: str
) -> None:
    def drain(_letter: uuid.UUID) -> None:
        outbox.drain()

    for found, one, other in in_turns(by(act), drain, prepare=letter):
        assert kinds(one) == ["Done"]
        assert other is None
        outbox.drain()
        statuses = outbox.rows(
            "SELECT e.status FROM outbox_events AS e JOIN outbox_dlq AS d "
            "USING (aggregate_type, aggregate_id) WHERE d.id = %s ORDER BY e.seq",
            [found],
        )
        assert statuses[-1] == ("PUBLISHED",)
        assert (statuses[0] == ("PUBLISHED",)) is (act == "requeue")


class TestKeys:
    def _publish(self, key: str, *, keep: bool = True) -> uuid.UUID | None:
        with transaction.atomic():
            found = publish("Counted", "JOB", 1, {"n": 1}, idempotency_key=key)
            transaction.set_rollback(not keep)
        return found if keep else None

    def test_one_key_is_published_once(self, outbox: Outbox) -> None:
        for key, one, other in in_turns(
            self._publish, self._publish, prepare=lambda: str(uuid.uuid4())
        ):
            assert kinds(one, other) == ["DuplicateEvent", "UUID"]
            assert (
                outbox.value("SELECT count(*) FROM outbox_events WHERE idempotency_key = %s", [key])
                == 1
            )

    def test_a_key_whose_first_transaction_rolls_back_is_free(self, outbox: Outbox) -> None:
        for key, one, other in in_turns(
            lambda key: self._publish(key, keep=False),
            self._publish,
            prepare=lambda: str(uuid.uuid4()),
        ):
            # Who asks while the first has not ended yet waits, and is told the truth.
            assert one is None or isinstance(one, DuplicateEvent)
            assert kinds(other) == ["UUID"]
            assert outbox.rows(
                "SELECT id FROM outbox_events WHERE idempotency_key = %s", [key]
            ) == [(other,)]


def test_an_event_is_seen_first_by_one(outbox: Outbox) -> None:
    def see(event: str) -> bool:
        with transaction.atomic(), inbox.once("here", event) as first:
            return first

    for _event, one, other in in_turns(see, see, prepare=lambda: str(uuid.uuid4())):
        assert {one, other} == {True, False}


def test_what_retention_deletes_is_not_requeued(
    outbox: Outbox, letter: Callable[[], uuid.UUID]
) -> None:
    def delete(_letter: uuid.UUID) -> Any:
        return prune(Retention(published_days=0, inbox_days=0, dead_letter_days=0))

    def restored(found: uuid.UUID) -> Any:
        return dead_letters.restore(found, **WHO)

    def discarded() -> uuid.UUID:
        found = letter()
        dead_letters.discard(found, **WHO)
        return found

    for found, one, other in in_turns(delete, restored, prepare=discarded):
        assert not isinstance(one, Exception)
        assert kinds(other) in (["Done"], ["NoSuchDeadLetter"])
        there = outbox.value("SELECT count(*) FROM outbox_dlq WHERE id = %s", [found])
        assert there == (kinds(other) == ["Done"])


def test_two_prunes_take_turns(outbox: Outbox) -> None:
    def delete(_nothing: None) -> Any:
        return prune(Retention(published_days=0, inbox_days=0, dead_letter_days=0))

    for _nothing, one, other in in_turns(delete, delete, prepare=lambda: None):
        for found in (one, other):
            assert not isinstance(found, Exception) or isinstance(found, PruneBusy)
