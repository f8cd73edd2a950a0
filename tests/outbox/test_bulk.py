"""The same for all dead letters that match: previewed, limited, stopped and gone on with."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import pytest
from django.db import transaction
from django.db.transaction import TransactionManagementError

from outbox.outcomes import permanent
from outbox.services import dead_letters
from outbox.services.dead_letters import BulkResult, Deed, LetterFilter, Preview, bulk
from outbox.services.dead_letters.bulk import CHUNK, Rate
from outbox.states import DeadLetterAction, DeadLetterState
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, die, refusing, together

BY = {"by": "anna", "note": "the hook has moved"}
RESOLVE = Deed(action=DeadLetterAction.RESOLVED, **BY)


def dead(outbox: Outbox, number: int, judge: Any = None) -> None:
    """So many dead letters of aggregates of their own."""
    with transaction.atomic():
        for place in range(number):
            outbox.publish(uuid.UUID(int=1_000 + place), place)
    outbox.drain(judge or (lambda event: permanent("x", "y")))


def open_ones(outbox: Outbox) -> int:
    found: int = outbox.value("SELECT count(*) FROM outbox_dlq WHERE resolved_at IS NULL")
    return found


def requeue_all(**options: Any) -> BulkResult:
    found = dead_letters.requeue_where(LetterFilter(), **{**BY, **options})
    assert isinstance(found, BulkResult)
    return found


class TestPreview:
    def test_counts_and_changes_nothing(self, inside: Outbox) -> None:
        dead(inside, 5)

        found = dead_letters.requeue_where(LetterFilter(), **BY, dry_run=True, limit=3)

        assert isinstance(found, Preview)
        assert (found.matching, found.selected, found.aggregates) == (5, 3, 5)
        assert open_ones(inside) == 5

    def test_of_nothing(self, inside: Outbox) -> None:
        assert dead_letters.preview(LetterFilter()).matching == 0


class TestRun:
    def test_all_that_match_in_one_batch(self, outbox: Outbox) -> None:
        dead(outbox, 5)
        kept = die(outbox, JOB, 99, outcome=permanent("other", "y"))

        found = dead_letters.requeue_where(LetterFilter(error_class="x"), **BY)

        assert isinstance(found, BulkResult)
        assert (found.selected, found.done, found.refused) == (5, 5, 0)
        assert outbox.rows(
            "SELECT action, actor, note, batch_id, count(*) FROM outbox_dlq_actions "
            "WHERE action <> 'DIED' GROUP BY 1, 2, 3, 4"
        ) == [("REQUEUED", "anna", "the hook has moved", found.batch_id, 5)]
        assert [one.id for one in dead_letters.list_letters().letters] == [kept]
        assert sorted(outbox.drain().numbers) == [0, 1, 2, 3, 4]

    def test_the_oldest_of_an_aggregate_first(self, outbox: Outbox) -> None:
        letters = []
        for number in (1, 2, 3):
            letters.append(die(outbox, JOB, number))
            dead_letters.discard(letters[-1], **BY)
        for letter in reversed(letters):
            dead_letters.restore(letter, **BY)
        # The first one died once more, and so last.
        outbox.execute("UPDATE outbox_dlq SET moved_at = now() WHERE id = %s", [letters[0]])

        for _ in letters:
            assert requeue_all(limit=1).done == 1

        taken = outbox.rows(
            "SELECT dlq_id FROM outbox_dlq_actions WHERE action = 'REQUEUED' ORDER BY id"
        )
        assert [row[0] for row in taken] == letters
        assert outbox.drain().numbers == [1, 2, 3]

    def test_in_many_transactions(self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "CHUNK", 2)
        dead(outbox, 5)
        told: list[tuple[int, int]] = []

        requeue_all(tell=lambda done, every: told.append((done, every)))

        assert told == [(2, 5), (4, 5), (5, 5)]
        assert outbox.value("SELECT count(DISTINCT resolved_at::text) FROM outbox_dlq") >= 3

    def test_resolve_lets_all_go(self, outbox: Outbox) -> None:
        for number in range(3):
            die(outbox, uuid.uuid4(), number, number + 10)

        found = dead_letters.act_where(LetterFilter(), RESOLVE)

        assert found.done == 3
        assert sorted(outbox.drain().numbers) == [10, 11, 12]

    def test_what_cannot_be_done_is_left_and_told(self, outbox: Outbox) -> None:
        dead(outbox, 3)
        outbox.execute(
            "UPDATE outbox_events SET status = 'PUBLISHED', published_at = now() "
            "WHERE payload ->> 'n' = '1'"
        )

        found = requeue_all()

        assert (found.done, found.refused) == (2, 1)
        assert "was published at" in str(found.refusals[0])

    def test_how_many_wait_behind_others(self, outbox: Outbox) -> None:
        first = die(outbox, JOB, 1, 2)
        dead_letters.discard(first, **BY)
        outbox.drain(refusing(2))
        dead_letters.restore(first, **BY)

        assert requeue_all(limit=1).waiting == 1

    def test_not_inside_of_a_transaction(self, outbox: Outbox) -> None:
        with transaction.atomic(), pytest.raises(TransactionManagementError, match="commits as"):
            requeue_all()

    @pytest.mark.parametrize(
        "options", [{"limit": 0}, {"limit": -1}, {"rate": 0}, {"rate": -1}, {"rate": float("nan")}]
    )
    def test_bad_options_change_nothing(self, outbox: Outbox, options: dict[str, Any]) -> None:
        dead(outbox, 1)

        with pytest.raises(ValueError, match="it is"):
            requeue_all(**options)

        assert open_ones(outbox) == 1


class TestStopAndGoOn:
    def test_it_stops_between_two_transactions_and_goes_on_with_the_rest(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "CHUNK", 2)
        dead(outbox, 7)
        stop = threading.Event()

        first = requeue_all(stop=stop, tell=lambda done, _: stop.set() if done >= 4 else None)

        assert (first.done, first.is_interrupted, open_ones(outbox)) == (4, True, 3)
        second = requeue_all(batch_id=first.batch_id)
        assert (second.selected, second.done, second.is_interrupted) == (3, 3, False)
        assert second.batch_id == first.batch_id

    def test_what_died_again_is_not_done_twice_in_one_batch(self, outbox: Outbox) -> None:
        dead(outbox, 4)
        first = requeue_all(limit=2)
        outbox.drain(lambda event: permanent("x", "again"))
        assert open_ones(outbox) == 4

        assert dead_letters.preview(LetterFilter(), batch_id=first.batch_id).matching == 2
        second = requeue_all(batch_id=first.batch_id)

        assert second.done == 2
        assert open_ones(outbox) == 2

    def test_stopped_before_it_began(self, outbox: Outbox) -> None:
        dead(outbox, 2)
        stop = threading.Event()
        stop.set()

        found = requeue_all(stop=stop)

        assert (found.done, found.is_interrupted) == (0, True)

    def test_a_stop_ends_the_pause_of_a_rate(self, outbox: Outbox) -> None:
        dead(outbox, 2)
        stop = threading.Event()
        started = time.monotonic()

        # The second would come after more than two hours.
        found = requeue_all(stop=stop, rate=0.0001, tell=lambda *_: stop.set())

        assert (found.done, found.is_interrupted) == (1, True)
        assert time.monotonic() - started < 60

    def test_a_rate_is_kept(self, outbox: Outbox) -> None:
        dead(outbox, 9)
        started = time.monotonic()

        requeue_all(rate=20)

        # Portions of 5: the second one may begin when 5 are due.
        assert time.monotonic() - started >= 5 / 20

    def test_what_others_do_meanwhile_is_left_to_them(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "CHUNK", 1)
        dead(outbox, 3)
        last = outbox.value("SELECT id FROM outbox_dlq ORDER BY seq DESC LIMIT 1")

        def meddle(done: int, _every: int) -> None:
            if done == 1:
                dead_letters.resolve(last, by="ben", note="mine")

        found = requeue_all(tell=meddle)

        assert (found.done, found.refused) == (2, 1)
        assert "was resolved by ben" in str(found.refusals[0])

    def test_two_runs_at_once_do_each_one_once(self, outbox: Outbox) -> None:
        dead(outbox, 40)

        found = together(lambda: requeue_all(by="anna"), lambda: requeue_all(by="ben"))

        assert sum(one.done for one in found) == 40
        assert (
            outbox.value("SELECT count(*) FROM outbox_dlq_actions WHERE action = 'REQUEUED'") == 40
        )
        assert len(outbox.drain().numbers) == 40

    def test_restore_goes_over_what_was_discarded(self, outbox: Outbox) -> None:
        dead(outbox, 3)
        dead_letters.act_where(LetterFilter(), Deed(action=DeadLetterAction.DISCARDED, **BY))
        discarded = LetterFilter(state=DeadLetterState.DISCARDED)

        found = dead_letters.act_where(
            discarded, Deed(action=DeadLetterAction.RESTORED, **BY), limit=2
        )

        assert found.done == open_ones(outbox) == 2


class TestRate:
    @pytest.mark.parametrize(
        ("rate", "portion"),
        [(None, CHUNK), (0.1, 1), (4, 1), (8, 2), (100, 25), (10_000, CHUNK)],
    )
    def test_portions_take_a_quarter_of_a_second_or_longer(
        self, rate: float | None, portion: int
    ) -> None:
        assert Rate(rate).portion == portion

    def test_pauses(self) -> None:
        assert Rate(10).pause(0, 0.0) == 0.0
        assert Rate(10).pause(20, 0.5) == 1.5
        assert Rate(10).pause(20, 5.0) == 0.0
        assert Rate(None).pause(20, 0.0) == 0.0


@pytest.mark.parametrize("action", [DeadLetterAction.DIED, DeadLetterAction.RESENT])
def test_what_cannot_be_done_in_bulk(outbox: Outbox, action: DeadLetterAction) -> None:
    dead(outbox, 1)

    with pytest.raises(ValueError, match=str(action)):
        dead_letters.act_where(LetterFilter(), Deed(action=action, **BY))

    assert open_ones(outbox) == 1
