"""What is stuck, and why: lists, pages, one whole, groups."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from hodei.sql import statement
from outbox.models import DeadLetter
from outbox.outcomes import permanent
from outbox.services import dead_letters
from outbox.services.dead_letters import DeadLetterError, LetterFilter, NoSuchDeadLetter, reading
from outbox.services.dead_letters.filters import letters
from outbox.states import DeadLetterState
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, event_of

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
BY = {"by": "anna", "note": "enough"}


def listed(**conditions: Any) -> set[uuid.UUID]:
    found = dead_letters.list_letters(LetterFilter(**conditions), limit=1_000)
    return {letter.id for letter in found.letters}


def insert(outbox: Outbox, number: int, **values: str) -> None:
    """Many dead letters, a second apart; values are expressions over ``n``, from 1."""
    columns = {
        "original_event_id": "gen_random_uuid()",
        "aggregate_id": "gen_random_uuid()",
        "aggregate_type": "'JOB'",
        "event_type": "'JobCreated'",
        "payload": "jsonb_build_object('n', n)",
        "error_message": "'gone'",
        "retry_count": "3",
        "original_created_at": f"'{NOW.isoformat()}'::timestamptz",
        "moved_at": f"'{NOW.isoformat()}'::timestamptz + n * interval '1 second'",
        "seq": "n",
        **values,
    }
    outbox.execute(
        f"INSERT INTO outbox_dlq ({', '.join(columns)}) SELECT {', '.join(columns.values())} "
        f"FROM generate_series(1, {number}) AS s (n)"
    )


class TestFilters:
    def test_without_conditions_what_is_open(self, inside: Outbox) -> None:
        letter, other = die(inside, JOB, 1), die(inside, OTHER, 2)
        dead_letters.resolve(other, **BY)

        assert listed() == {letter}
        assert listed(state=None) == {letter, other}

    def test_states(self, inside: Outbox) -> None:
        ends = {}
        for number, end in enumerate(DeadLetterState):
            ends[end] = die(inside, uuid.uuid4(), number)
        dead_letters.requeue(ends[DeadLetterState.REQUEUED], **BY)
        dead_letters.resolve(ends[DeadLetterState.RESOLVED], **BY)
        dead_letters.discard(ends[DeadLetterState.DISCARDED], **BY)
        dead_letters.edit_and_resend(ends[DeadLetterState.RESENT], payload={"n": 9}, **BY)

        for end, letter in ends.items():
            assert listed(state=end) == {letter}
            assert dead_letters.get(letter).letter.state is end

    def test_each_condition(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)
        other = die(inside, "order 7", 2, outcome=permanent("gone", "nobody there"))
        inside.execute("UPDATE outbox_dlq SET moved_at = %s WHERE id = %s", [NOW, letter])
        inside.execute(
            "UPDATE outbox_dlq SET event_type = 'Other', aggregate_type = 'SAGA', "
            "destination = 'else' WHERE id = %s",
            [other],
        )
        one, two = dead_letters.get(letter).letter, dead_letters.get(other).letter

        for name in ("error_class", "event_type", "aggregate_type", "aggregate_id", "destination"):
            assert listed(**{name: getattr(one, name)}) == {letter}, name
            assert listed(**{name: getattr(two, name)}) == {other}, name
        assert listed(fingerprint=one.fingerprint) == {letter}
        assert listed(fingerprint=str(two.fingerprint)[:8]) == {other}
        assert listed(before=NOW + timedelta(seconds=1)) == {letter}
        assert listed(before=NOW) == set()
        assert listed(since=NOW) == {letter, other}
        assert listed(since=NOW + timedelta(seconds=1)) == {other}
        assert listed(ids=[letter, two.event_id]) == {letter, other}
        assert listed(ids=[]) == set()
        assert listed(error_class="gone", aggregate_id=JOB) == set()

    def test_times_requeued(self, inside: Outbox) -> None:
        letter, other = die(inside, JOB, 1), die(inside, OTHER, 2)
        for _ in range(2):
            dead_letters.requeue(letter, **BY)
            inside.drain(lambda event: permanent("x", "y"))

        assert listed(requeued=1) == listed(requeued=2) == {letter}
        assert listed(requeued=3) == set()
        assert listed(requeued=0) == {letter, other}

    @pytest.mark.parametrize("text", ["", "xyz", "ABC", "a" * 65, "%", "a'"])
    def test_no_fingerprint(self, text: str) -> None:
        with pytest.raises(ValueError, match="it is the beginning of one"):
            LetterFilter(fingerprint=text)


class TestPages:
    def test_each_row_once_those_that_died_last_first(self, inside: Outbox) -> None:
        # Some die together: a relay buries a batch in one transaction.
        insert(inside, 95, moved_at=f"'{NOW.isoformat()}'::timestamptz + n / 10 * interval '1 s'")
        seen: list[Any] = []
        after = None

        for _ in range(10):
            page = dead_letters.list_letters(limit=10, after=after)
            seen += page.letters
            after = page.next

        assert after is None
        assert len({letter.id for letter in seen}) == 95
        died = [letter.died_at for letter in seen]
        assert died == sorted(died, reverse=True)

    def test_the_last_page_may_be_full(self, inside: Outbox) -> None:
        insert(inside, 10)

        assert dead_letters.list_letters(limit=10).next is None
        assert dead_letters.list_letters(limit=9).next is not None
        assert dead_letters.list_letters(LetterFilter(destination="none"), limit=9).next is None

    def test_a_page_reads_no_content(self, inside: Outbox, django_assert_num_queries: Any) -> None:
        insert(inside, 20)

        with django_assert_num_queries(1) as captured:
            dead_letters.list_letters(limit=10)

        assert '"payload"' not in captured[0]["sql"]
        assert '"metadata"' not in captured[0]["sql"]

    @pytest.mark.parametrize(
        ("state", "index"),
        [(DeadLetterState.OPEN, "idx_dlq_status"), (None, "idx_dlq_moved_at")],
    )
    def test_it_is_read_by_an_index(
        self, inside: Outbox, state: DeadLetterState | None, index: str
    ) -> None:
        insert(inside, 30_000, resolved_at="CASE WHEN n > 300 THEN now() END")
        inside.execute("ANALYZE outbox_dlq")
        rows = letters(LetterFilter(state=state), "default")
        after = NOW + timedelta(seconds=150)

        plan = rows.filter(moved_at__lte=after).order_by("-moved_at", "-pk")[:51].explain()

        assert index in plan
        assert "Seq Scan on outbox_dlq" not in plan


class TestOne:
    def test_everything_that_is_known(self, inside: Outbox) -> None:
        metadata = {"correlation_id": "c"}
        inside.publish("order 7", 1, metadata=metadata, idempotency_key="k", version=2)
        inside.publish("order 7", 2, 3)
        inside.drain(lambda event: permanent("http_422", "no such order"))

        (letter,) = dead_letters.list_letters().letters
        found = dead_letters.get(letter.event_id)

        assert found.letter == letter
        assert (letter.event_type, letter.event_version) == ("Counted", 2)
        assert (letter.aggregate_type, letter.aggregate_key) == ("JOB", "order 7")
        assert (letter.error_class, letter.error) == ("http_422", "no such order")
        assert (letter.attempts, letter.requeues, letter.holds) == (1, 0, True)
        assert (found.payload, found.metadata) == ({"n": 1}, metadata)
        assert (found.idempotency_key, found.event_status) == ("k", "FAILED")
        assert (found.followers, found.waits_behind) == (2, letter.event_id)
        assert [one.action for one in found.actions] == ["DIED"]
        assert found.actions[0].details == {"class": "http_422", "attempts": 1}

    def test_whose_event_is_gone(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)
        inside.execute("DELETE FROM outbox_events")

        assert dead_letters.get(letter).event_status is None

    def test_followers_are_counted_up_to_a_cap(
        self, inside: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "MOST_FOLLOWERS", 3)
        letter = die(inside, JOB, 1, *range(2, 9))

        assert dead_letters.get(letter).followers == 3

    def test_there_is_none(self, inside: Outbox) -> None:
        with pytest.raises(NoSuchDeadLetter, match="There is no dead letter"):
            dead_letters.get(uuid.uuid4())

    def test_the_number_of_queries_is_fixed(
        self, inside: Outbox, django_assert_num_queries: Any
    ) -> None:
        letter = die(inside, JOB, 1, *range(2, 50))

        with django_assert_num_queries(5):
            dead_letters.get(letter)


class TestIdentify:
    def test_by_what_somebody_types(self, inside: Outbox) -> None:
        letter, other = die(inside, JOB, 1), die(inside, OTHER, 2)

        for word in (
            *(str(letter), letter.hex, str(letter).upper(), f" {letter}\n"),
            *(str(letter)[:8], str(letter)[:13], str(letter)[:35], str(event_of(inside, letter))),
        ):
            assert dead_letters.identify([word]) == [letter], word
        assert dead_letters.identify([str(other)[:8], letter.hex]) == [other, letter]
        assert dead_letters.identify([letter.hex, str(letter)[:8]]) == [letter]

    @pytest.mark.parametrize(
        "word",
        [
            "",
            "x",
            "1234567",
            "1234567g",
            "%",
            "' OR true --",
            "0" * 33,
            "0" * 5_000,
            "\0" * 8,
            "٣" * 8,
        ],
    )
    def test_no_id(self, inside: Outbox, word: str) -> None:
        die(inside, JOB, 1)

        with pytest.raises(NoSuchDeadLetter, match="There is no dead letter"):
            dead_letters.identify([word])

    def test_several_may_be_meant(self, inside: Outbox) -> None:
        insert(
            inside,
            2,
            id="('abcdef00-0000-4000-8000-00000000000' || n)::uuid",
        )

        with pytest.raises(DeadLetterError, match=r"may be any of abcdef00.*: give more"):
            dead_letters.identify(["abcdef00"])

    def test_beginnings_are_found_by_the_index(self, inside: Outbox) -> None:
        insert(inside, 30_000)
        inside.execute("ANALYZE outbox_dlq")
        low, high = uuid.UUID("12345678" + "0" * 24), uuid.UUID("12345678" + "f" * 24)

        plan = DeadLetter.objects.filter(pk__gte=low, pk__lte=high).order_by("pk")[:4].explain()

        assert "outbox_dlq_pkey" in plan


class TestStats:
    def test_nothing(self, inside: Outbox) -> None:
        found = dead_letters.stats()

        assert (found.open, found.is_capped, found.oldest_at, found.oldest_seconds) == (
            *(0, False),
            *(None, None),
        )
        assert found.by_class == found.by_fingerprint == []

    def test_defect_b10_the_oldest_is_the_oldest(self, inside: Outbox) -> None:
        """The original took the least of the ages, which is the youngest one's."""
        insert(inside, 2, moved_at="now() - CASE n WHEN 1 THEN interval '1 h' ELSE '1 s' END")
        insert(inside, 1, moved_at="now() - interval '9 h'", resolved_at="now()")

        found = dead_letters.stats()

        assert found.open == 2
        assert 3_600 <= (found.oldest_seconds or 0) < 3_900

    def test_groups(self, inside: Outbox) -> None:
        kinds = {"error_class": "CASE WHEN n % 3 = 0 THEN 'rare' ELSE 'often' END"}
        insert(
            inside,
            30,
            **kinds,
            fingerprint="CASE WHEN n % 3 = 0 THEN 'cc' WHEN n % 3 = 1 THEN 'aa' ELSE 'bb' END",
            error_message="'error ' || n",
        )
        insert(inside, 1, error_class="NULL", fingerprint="NULL")

        found = dead_letters.stats()

        assert [(one.key, one.count) for one in found.by_class] == [
            *(("often", 20), ("rare", 10)),
            (None, 1),
        ]
        assert [(one.key, one.count) for one in found.by_fingerprint] == [
            *(("aa", 10), ("bb", 10), ("cc", 10)),
            (None, 1),
        ]
        newest = found.by_fingerprint[0]
        assert newest.first_at == NOW + timedelta(seconds=1)
        assert newest.last_at == NOW + timedelta(seconds=28)
        assert (newest.error, newest.error_class) == ("error 28", "often")
        assert dead_letters.get(newest.letter_id).payload == {"n": 28}

    def test_the_newest_are_grouped(self, inside: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "MOST_GROUPED", 10)
        monkeypatch.setattr(reading, "MOST_GROUPS", 2)
        insert(inside, 12, error_class="'c' || n", fingerprint="'f' || n")

        found = dead_letters.stats()

        assert (found.open, found.is_capped) == (10, True)
        assert found.oldest_at == NOW + timedelta(seconds=1)
        assert len(found.by_class) == len(found.by_fingerprint) == 2
        assert all(one.key not in {"c1", "c2"} for one in found.by_class)

    @pytest.mark.parametrize(
        "name", ["count_letters", "letters_by_class", "letters_by_fingerprint"]
    )
    def test_what_was_closed_costs_nothing(self, inside: Outbox, name: str) -> None:
        insert(inside, 30_000, resolved_at="CASE WHEN n > 100 THEN now() END")
        inside.execute("ANALYZE outbox_dlq")

        with connection.cursor() as cursor:
            cursor.execute(
                f"EXPLAIN (ANALYZE) {statement('outbox', name)}", {"grouped": 100_000, "groups": 20}
            )
            plan = "\n".join(row[0] for row in cursor.fetchall())

        assert re.search(r"Scan.* using (idx_dlq_status|outbox_dlq_fingerprint_idx)", plan) or (
            "Bitmap Index Scan on idx_dlq_status" in plan
        ), plan
        assert "Seq Scan on outbox_dlq" not in plan
