"""Relays in processes that are killed: nothing lost, and each aggregate in order."""

from __future__ import annotations

import random
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults import journal
from tests.faults.conftest import Start
from tests.pooler import pgbouncer
from tests.processes import eventually

pytestmark = pytest.mark.process


def outbox_of(path: Path, **options: Any) -> dict[str, Any]:
    return {
        "DESTINATIONS": {
            "default": {
                "PUBLISHER": "tests.faults.journal.Journal",
                "OPTIONS": {"PATH": str(path), **options},
                "MAX_ATTEMPTS": 1000,
            }
        }
    }


def write_events(
    session: psycopg.Connection[Any], events: int, *, hot: int, cold: int, first: int = 0
) -> None:
    """Half of the events are of few aggregates, half of many; ``n`` grows within each."""
    session.execute(
        """
        INSERT INTO outbox_events (aggregate_id, aggregate_key, aggregate_type, event_type, payload)
        SELECT md5(key)::uuid, key, 'JOB', 'Counted', jsonb_build_object('n', n)
          FROM (SELECT n, CASE WHEN mod(n, 2) = 0 THEN 'hot-' || mod(n / 2, %s)
                               ELSE 'cold-' || mod(n / 2, %s) END AS key
                  FROM generate_series(%s::int, %s::int) AS s (n)) AS drawn
         ORDER BY n
        """,
        [hot, cold, first, first + events - 1],
    )


def check_order(deliveries: list[tuple[str, int, str]]) -> int:
    """Fail where an event was first delivered behind a later one; returns the duplicates."""
    last: dict[str, int] = defaultdict(lambda: -1)
    ids: dict[tuple[str, int], str] = {}
    duplicates = 0
    for subject, number, event_id in deliveries:
        if (subject, number) in ids:
            duplicates += 1
            assert ids[subject, number] == event_id, "a duplicate has another id"
            continue
        ids[subject, number] = event_id
        assert number > last[subject], f"{subject}: {number} came after {last[subject]}"
        last[subject] = number
    return duplicates


class TestKilled:
    @pytest.mark.parametrize(
        ("events", "kills"),
        [(2_000, 2), pytest.param(100_000, 25, marks=pytest.mark.slow)],
    )
    def test_nothing_is_lost_and_all_is_in_order(
        self,
        database: dict[str, Any],
        session: psycopg.Connection[Any],
        start: Start,
        tmp_path: Path,
        events: int,
        kills: int,
        record_property: Callable[[str, object], None],
    ) -> None:
        """Three relays; publishers that fail and die at random; relays killed at random."""
        path = tmp_path / "journal"
        outbox = outbox_of(path, REJECTS=0.002, DOWNS=0.0005, DIES=1 / events)
        rng = random.Random(events)
        write_events(session, events // 2, hot=20, cold=1000)
        relays = [start("outbox_relay", outbox=outbox) for _ in range(3)]
        write_events(session, events - events // 2, hot=20, cold=1000, first=events // 2)

        def pending() -> int:
            return count(session, "status = 'PENDING'")

        deadline = time.monotonic() + 240
        left = kills
        while pending():
            assert time.monotonic() < deadline, f"{pending()} still wait"
            if left and pending() < events * left / (kills + 1):
                left -= 1
                rng.choice(relays).send_signal(signal.SIGKILL)
            for number, relay in enumerate(relays):
                if relay.poll() is not None:
                    relays[number] = start("outbox_relay", outbox=outbox)
            # No lease of a dead relay, and no retry time, is waited for.
            session.execute(
                "UPDATE outbox_lanes SET leased_until = now() WHERE owner NOT IN "
                "(SELECT owner FROM outbox_relays WHERE seen_at > now() - interval '5 seconds')"
            )
            session.execute(
                "UPDATE outbox_keys SET retry_at = now() "
                "WHERE state = 'BACKOFF' AND retry_at > now()"
            )
            time.sleep(0.05)

        deliveries = journal.read(path)
        duplicates = check_order(deliveries)
        assert len({(subject, number) for subject, number, _ in deliveries}) == events
        assert count(session, "status = 'PUBLISHED'") == events
        assert session.execute("SELECT count(*) FROM outbox_dlq").fetchone() == (0,)
        record_property("duplicates", duplicates)
        record_property("kills", kills - left)

    def test_a_payload_that_kills_ends_as_crashed(
        self, session: psycopg.Connection[Any], start: Start, tmp_path: Path
    ) -> None:
        path = tmp_path / "journal"
        outbox = outbox_of(path, POISON=10)
        write_events(session, 40, hot=2, cold=5)

        for _ in range(8):
            relay = start("outbox_relay", "--once", outbox=outbox)
            relay.communicate(timeout=60)
            session.execute("UPDATE outbox_lanes SET leased_until = now() - interval '1 second'")
            if relay.returncode != -signal.SIGKILL:
                break

        assert session.execute("SELECT error_class FROM outbox_dlq").fetchall() == [("crashed",)]
        # The followers of number 10 wait for a person: 12, 14 ... of the same aggregate.
        waiting = session.execute(
            "SELECT count(*), bool_and(held) FROM outbox_events WHERE status = 'PENDING'"
        ).fetchone()
        assert waiting == (7, True)
        check_order(journal.read(path))


class TestSignals:
    def test_sigterm_finishes_what_is_being_sent(
        self, session: psycopg.Connection[Any], start: Start, tmp_path: Path
    ) -> None:
        path = tmp_path / "journal"
        write_events(session, 5_000, hot=5, cold=100)
        relay = start("outbox_relay", outbox=outbox_of(path))
        assert eventually(lambda: path.exists() and path.stat().st_size > 0)

        relay.send_signal(signal.SIGTERM)
        told, errors = relay.communicate(timeout=20)

        assert relay.returncode == 0
        delivered = count(session, "status = 'PUBLISHED'")
        assert len(journal.read(path)) == delivered
        assert told == (
            f"default: {delivered} delivered, 0 rejected and to be tried again, 0 given up\n"
        )
        assert "delivers to default.\n" in errors
        assert session.execute("SELECT count(owner) FROM outbox_lanes").fetchone() == (0,)


class TestDatabase:
    def test_it_goes_on_when_its_sessions_are_ended(
        self,
        database: dict[str, Any],
        session: psycopg.Connection[Any],
        start: Start,
        tmp_path: Path,
    ) -> None:
        path = tmp_path / "journal"
        start("outbox_relay", outbox=outbox_of(path))
        write_events(session, 10, hot=2, cold=2)
        assert eventually(lambda: count(session, "status = 'PUBLISHED'") == 10)

        for _ in range(2):
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'hodei outbox%'"
            )
            session.execute("UPDATE outbox_lanes SET leased_until = now()")
        write_events(session, 10, hot=2, cold=2, first=10)

        assert eventually(lambda: count(session, "status = 'PUBLISHED'") == 20)
        check_order(journal.read(path))


class TestPooler:
    def test_behind_transaction_pooling_it_polls_and_says_so(
        self,
        database: dict[str, Any],
        session: psycopg.Connection[Any],
        start: Start,
        tmp_path: Path,
    ) -> None:
        path = tmp_path / "journal"
        with pgbouncer(database, "transaction", tmp_path) as through:
            relay = start("outbox_relay", outbox=outbox_of(path), through=through)
            assert eventually(
                lambda: (
                    session.execute("SELECT wakes_by FROM outbox_relays").fetchall()
                    == [("polling",)]
                )
            )
            write_events(session, 200, hot=5, cold=50)
            assert eventually(lambda: count(session, "status = 'PUBLISHED'") == 200)
            relay.send_signal(signal.SIGTERM)
            relay.communicate(timeout=20)
            left = session.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchone()

        assert left == (0,)
        check_order(journal.read(path))

    @pytest.mark.parametrize("mode", ["session", "transaction"])
    def test_publish_works_in_every_mode(
        self,
        database: dict[str, Any],
        session: psycopg.Connection[Any],
        tmp_path: Path,
        mode: str,
        django_db_blocker: Any,
    ) -> None:
        from django.db import transaction

        from outbox.services.publish import publish
        from tests.databases import alias_of

        with (
            django_db_blocker.unblock(),
            pgbouncer(database, mode, tmp_path) as through,
            alias_of(through, "pooled") as alias,
        ):
            for number in range(20):
                with transaction.atomic(using=alias):
                    publish("Counted", "JOB", uuid.UUID(int=1), {"n": number}, using=alias)

        assert count(session, "true") == 20


def count(session: psycopg.Connection[Any], condition: str) -> int:
    row = session.execute(f"SELECT count(*) FROM outbox_events WHERE {condition}").fetchone()
    return int(row[0]) if row else -1
