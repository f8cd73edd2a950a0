"""What is done and old is deleted, and nothing else, by one at a time, in batches."""

from __future__ import annotations

import threading
import uuid
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

from hodei.sessions import connect
from hodei.sql import statement
from outbox.conf import Retention, read
from outbox.services import dead_letters
from outbox.services.retention import PRUNE, PruneBusy, Pruned, prune
from tests.databases import HERE, alias_of
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, refusing, together
from tests.pooler import pgbouncer

KEEP = Retention(published_days=None, inbox_days=None, dead_letter_days=None)
PUBLISHED = Retention(published_days=7, inbox_days=None)
INBOX = Retention(published_days=None, inbox_days=30)
LETTERS = Retention(published_days=None, inbox_days=None, dead_letter_days=90)
BY = {"by": "anna", "note": "enough"}


def history(outbox: Outbox, number: int, days: int) -> None:
    """Events that were published so many days ago, a second apart."""
    outbox.execute(
        "INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, status, "
        "published_at) SELECT gen_random_uuid(), 'JOB', 'Counted', jsonb_build_object('n', n), "
        "'PUBLISHED', now() - %s * interval '1 day' - n * interval '1 s' "
        "FROM generate_series(1, %s) AS s (n)",
        [days, number],
    )


def events(outbox: Outbox) -> int:
    found: int = outbox.value("SELECT count(*) FROM outbox_events")
    return found


class TestEvents:
    def test_the_old_go_and_the_young_stay(self, outbox: Outbox) -> None:
        history(outbox, 5, days=8)
        history(outbox, 3, days=6)

        assert prune(PUBLISHED) == Pruned(events=5)

        assert events(outbox) == 3

    def test_defect_3_7_what_was_not_delivered_is_never_deleted(self, outbox: Outbox) -> None:
        """The original deleted failed events without keeping a copy."""
        die(outbox, JOB, 1, 2, 3)
        outbox.publish(OTHER, 4)
        outbox.execute("UPDATE outbox_events SET created_at = now() - interval '9 years'")

        assert prune(Retention(published_days=0)) == Pruned()

        assert events(outbox) == 4
        assert outbox.value("SELECT count(*) FROM outbox_dlq") == 1

    def test_nor_what_was_published_and_has_an_open_dead_letter(self, outbox: Outbox) -> None:
        """The original's queue held letters of events that it went on to publish."""
        letter = die(outbox, JOB, 1)
        outbox.execute("UPDATE outbox_events SET status = 'PUBLISHED', published_at = '2020-01-01'")
        assert prune(PUBLISHED).events == 0

        dead_letters.resolve(letter, **BY)

        assert prune(PUBLISHED).events == 1

    def test_nor_one_that_is_held(self, outbox: Outbox) -> None:
        history(outbox, 1, days=9)
        outbox.execute("UPDATE outbox_events SET held = true")

        assert prune(PUBLISHED).events == 0

    def test_in_batches_that_commit_one_by_one(self, outbox: Outbox) -> None:
        history(outbox, 25, days=8)
        left: list[int] = []

        found = prune(PUBLISHED, batch=10, tell=lambda _: left.append(events(outbox)))

        assert found.events == 25
        assert left == [15, 5, 0]

    def test_the_oldest_first_and_what_is_left_by_the_next_run(self, outbox: Outbox) -> None:
        history(outbox, 25, days=8)
        stop = threading.Event()

        first = prune(PUBLISHED, batch=10, stop=stop, tell=lambda _: stop.set())

        assert first == Pruned(events=10, is_interrupted=True)
        assert outbox.value("SELECT max((payload ->> 'n')::int) FROM outbox_events") == 15
        assert prune(PUBLISHED, batch=10) == Pruned(events=15)

    def test_many_of_the_same_moment(self, outbox: Outbox) -> None:
        history(outbox, 25, days=8)
        outbox.execute("UPDATE outbox_events SET published_at = '2020-01-01'")

        assert prune(PUBLISHED, batch=10).events == 25

    def test_it_waits_for_nobody(self, outbox: Outbox) -> None:
        history(outbox, 5, days=8)
        with transaction.atomic():
            outbox.execute("SELECT FROM outbox_events WHERE payload ->> 'n' = '5' FOR UPDATE")

            (found,) = together(lambda: prune(PUBLISHED, batch=2))

        assert found == Pruned(events=4)
        assert prune(PUBLISHED).events == 1

    def test_a_dry_run_counts_and_deletes_nothing(self, outbox: Outbox) -> None:
        history(outbox, 5, days=8)
        history(outbox, 3, days=6)
        outbox.execute(
            "INSERT INTO outbox_inbox (consumer, event_id, received_at) "
            "VALUES ('c', 'e', now() - interval '31 days')"
        )

        assert prune(dry_run=True) == Pruned(events=5, inbox=1)

        assert events(outbox) == 8

    @pytest.mark.slow
    def test_a_million(self, outbox: Outbox) -> None:
        history(outbox, 1_000_000, days=8)
        history(outbox, 10, days=1)
        outbox.execute("ANALYZE outbox_events")

        assert prune(PUBLISHED).events == 1_000_000

        assert events(outbox) == 10


@pytest.mark.parametrize(
    ("table", "column", "keep"),
    [
        ("outbox_events", "published_at", PUBLISHED),
        ("outbox_inbox", "received_at", INBOX),
        ("outbox_dlq", "moved_at", LETTERS),
    ],
)
def test_times_that_no_clock_can_show_keep_nothing_from_being_pruned(
    outbox: Outbox, table: str, column: str, keep: Retention
) -> None:
    history(outbox, 3, days=400)
    for number in (1, 2, 3):
        outbox.execute(
            "INSERT INTO outbox_inbox (consumer, event_id) VALUES ('billing', %s)", [str(number)]
        )
        dead_letters.discard(die(outbox, uuid.uuid4(), number), **BY)
    outbox.execute("UPDATE outbox_dlq SET resolved_at = now() - interval '400 days'")
    for instant in ("-infinity", "0100-01-01 BC", "2001-01-01"):
        outbox.execute(
            f"UPDATE {table} SET {column} = %s WHERE ctid = (SELECT ctid FROM {table} "
            f"WHERE {column} > '2002-01-01' ORDER BY {column} LIMIT 1)",
            [instant],
        )

    assert prune(keep, batch=1).total == 3


class TestInbox:
    def test_what_was_seen_long_ago(self, outbox: Outbox) -> None:
        outbox.execute(
            "INSERT INTO outbox_inbox (consumer, event_id, received_at) "
            "SELECT 'billing', n::text, now() - n * interval '1 day' "
            "FROM generate_series(1, 40) AS s (n)"
        )

        assert prune(INBOX, batch=3) == Pruned(inbox=11)

        assert outbox.value("SELECT max(event_id::int) FROM outbox_inbox") == 29


class TestDeadLetters:
    def test_they_are_kept_unless_asked_for(self, outbox: Outbox) -> None:
        dead_letters.discard(die(outbox, JOB, 1), **BY)
        self.make_old(outbox)

        assert prune(Retention(published_days=0, inbox_days=0)).dead_letters == 0

        assert outbox.value("SELECT count(*) FROM outbox_dlq") == 1

    def test_with_their_actions_and_their_events(self, outbox: Outbox) -> None:
        dead_letters.discard(die(outbox, JOB, 1), **BY)
        self.make_old(outbox)

        assert prune(LETTERS) == Pruned(dead_letters=1)

        for table in ("outbox_dlq", "outbox_dlq_actions", "outbox_events"):
            assert outbox.value(f"SELECT count(*) FROM {table}") == 0, table

    def test_not_what_is_open_or_young(self, outbox: Outbox) -> None:
        die(outbox, JOB, 1)
        self.make_old(outbox)
        dead_letters.resolve(die(outbox, OTHER, 2), **BY)

        assert prune(LETTERS) == Pruned()

    def test_not_one_whose_event_is_on_its_way(self, outbox: Outbox) -> None:
        dead_letters.requeue(die(outbox, JOB, 1), **BY)
        self.make_old(outbox)
        assert prune(LETTERS) == Pruned()
        assert outbox.drain().numbers == [1]

        assert prune(LETTERS) == Pruned(dead_letters=1)

        assert events(outbox) == 1

    def test_not_one_that_an_aggregate_waits_behind(self, outbox: Outbox) -> None:
        """Somebody closed it in SQL of their own, and let nothing go."""
        die(outbox, JOB, 1, 2)
        outbox.execute("UPDATE outbox_dlq SET resolved_at = now()")
        self.make_old(outbox)

        assert prune(LETTERS) == Pruned()

    def test_it_waits_for_nobody(self, outbox: Outbox) -> None:
        """What somebody has is left to the next run, with its letter."""
        letters = [dead_letters.discard(die(outbox, uuid.uuid4(), n), **BY) for n in range(1, 6)]
        self.make_old(outbox)
        with transaction.atomic():
            outbox.execute(
                "SELECT FROM outbox_events WHERE id = %s FOR UPDATE", [letters[1].event_id]
            )

            (found,) = together(lambda: prune(LETTERS, batch=2))

            assert found == Pruned(dead_letters=4)
            assert outbox.value("SELECT id FROM outbox_dlq FOR UPDATE") == letters[1].letter_id
        assert events(outbox) == 1
        assert prune(LETTERS) == Pruned(dead_letters=1)

    def test_a_batch_that_others_hold_does_not_go_round_for_ever(self, outbox: Outbox) -> None:
        for number in range(1, 3):
            dead_letters.discard(die(outbox, uuid.uuid4(), number), **BY)
        self.make_old(outbox)
        outbox.execute("UPDATE outbox_dlq SET moved_at = '2020-01-01'")
        with transaction.atomic():
            outbox.execute("SELECT FROM outbox_events FOR UPDATE")

            (found,) = together(lambda: prune(LETTERS, batch=1))

        assert found == Pruned()
        assert prune(LETTERS, batch=1) == Pruned(dead_letters=2)

    @staticmethod
    def make_old(outbox: Outbox) -> None:
        outbox.execute(
            "UPDATE outbox_dlq SET moved_at = moved_at - interval '91 days', "
            "resolved_at = resolved_at - interval '91 days'"
        )


class TestOneAtATime:
    def test_a_second_one_is_refused(self, outbox: Outbox) -> None:
        history(outbox, 1, days=8)
        with connect("default", "another") as other:
            other.execute("SELECT pg_advisory_lock(%s, 0)", [PRUNE])

            with pytest.raises(PruneBusy, match="Another outbox_prune is at work"):
                prune(PUBLISHED)

            assert prune(PUBLISHED, dry_run=True).events == 1
            other.execute("SELECT pg_advisory_unlock(%s, 0)", [PRUNE])
        assert prune(PUBLISHED).events == 1

    def test_one_that_has_ended_holds_nobody_up(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Although the server has not yet ended its session."""
        sessions: list[Any] = []

        def kept(session: Any) -> Any:
            sessions.append(session)
            return nullcontext(session)

        monkeypatch.setattr("outbox.services.retention.closing", kept)
        history(outbox, 3, days=8)
        try:
            assert prune(PUBLISHED).events == 3
            assert prune(PUBLISHED).events == 0
            assert len(sessions) == 2
        finally:
            for session in sessions:
                session.close()

    def test_one_that_was_killed_leaves_no_lock(self, outbox: Outbox) -> None:
        history(outbox, 20, days=8)

        def kill(_pruned: Pruned) -> None:
            outbox.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'hodei outbox prune%%' "
                "AND datname = current_database()"
            )

        from psycopg import OperationalError

        with pytest.raises(OperationalError):
            prune(PUBLISHED, batch=5, tell=kill)

        assert events(outbox) == 15
        assert prune(PUBLISHED).events == 15

    def test_behind_a_pooler_the_lock_is_each_batchs(self, outbox: Outbox, tmp_path: Path) -> None:
        """One of a session would stay with the pooler's, for ever."""
        history(outbox, 20, days=8)
        info = connections["default"].connection.info
        found = {"NAME": info.dbname, "USER": info.user, "PASSWORD": info.password}
        database = {**found, "HOST": info.host, "PORT": str(info.port)}
        database["ENGINE"] = "django.db.backends.postgresql"
        with pgbouncer(database, "transaction", tmp_path) as through, alias_of(through) as alias:
            assert prune(PUBLISHED, batch=5, using=alias).events == 20

            held = f"SELECT count(*) FROM pg_locks WHERE {HERE} AND classid = %s"
            assert outbox.value(held, [PRUNE]) == 0
            with connect("default", "another") as other:
                other.execute("SELECT pg_advisory_lock(%s, 0)", [PRUNE])
                with pytest.raises(PruneBusy):
                    prune(PUBLISHED, using=alias)


class TestSettings:
    def test_defaults(self) -> None:
        assert read({}).retention == Retention(
            published_days=7, inbox_days=30, dead_letter_days=None
        )

    def test_of_ones_own(self) -> None:
        found = read({"RETENTION": {"PUBLISHED_DAYS": None, "DEAD_LETTER_DAYS": 365}}).retention

        assert found == Retention(published_days=None, inbox_days=30, dead_letter_days=365)

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"DAYS": 3}, "has a key 'DAYS'; it knows PUBLISHED_DAYS, INBOX_DAYS, DEAD_LETTER"),
            ({"PUBLISHED_DAYS": -1}, r"\['PUBLISHED_DAYS'\] is -1; it is a whole number of days"),
            ({"PUBLISHED_DAYS": 1.5}, "is 1.5; it is a whole"),
            ({"PUBLISHED_DAYS": True}, "is True; it is a whole"),
            ({"INBOX_DAYS": "7"}, "is '7'; it is a whole"),
            ({"INBOX_DAYS": 36_501}, "0 to 36500, or None to keep them"),
            ([7], "is \\[7\\]; it is a dict"),
        ],
    )
    def test_wrong_ones(self, given: Any, told: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=told):
            read({"RETENTION": given})

    @pytest.mark.parametrize("days", [-1, 1.5, True, "7", 10**9])
    def test_wrong_values_delete_nothing(self, outbox: Outbox, days: Any) -> None:
        history(outbox, 1, days=8)

        with pytest.raises(ValueError, match="it is a whole number of days"):
            prune(Retention(published_days=days))
        with pytest.raises(ValueError, match="batch is 0"):
            prune(batch=0)

        assert events(outbox) == 1


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("prune_events", "outbox_events_published_idx"),
        ("prune_inbox", "outbox_inbox_received_idx"),
        ("prune_letters", "idx_dlq_moved_at"),
    ],
)
def test_batches_are_found_by_an_index(outbox: Outbox, name: str, index: str) -> None:
    history(outbox, 6_000, days=8)
    outbox.publish(JOB, *range(50))
    outbox.execute(
        "INSERT INTO outbox_inbox (consumer, event_id, received_at) "
        "SELECT 'billing', n::text, now() - n * interval '1 min' "
        "FROM generate_series(1, 6000) AS s (n)"
    )
    outbox.execute(
        "INSERT INTO outbox_dlq (original_event_id, aggregate_id, aggregate_type, event_type, "
        "payload, error_message, retry_count, original_created_at, moved_at, resolved_at) "
        "SELECT gen_random_uuid(), gen_random_uuid(), 'JOB', 'A', '{}', 'x', 1, now(), "
        "now() - n * interval '1 min', now() FROM generate_series(1, 6000) AS s (n)"
    )
    outbox.execute("ANALYZE outbox_events, outbox_inbox, outbox_dlq")

    plan = outbox.rows(
        f"EXPLAIN {statement('outbox', name)}",
        {"since": "-infinity", "before": "2100-01-01", "batch": 100},
    )

    text = "\n".join(row[0] for row in plan)
    assert f"using {index}" in text, text
    assert "Tid Scan" in text or name == "prune_letters", text


def test_nothing_is_asked_for(outbox: Outbox) -> None:
    history(outbox, 1, days=8)
    outbox.publish(JOB, 1)
    outbox.drain(refusing())

    assert prune(KEEP) == Pruned()
