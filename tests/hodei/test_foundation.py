"""What the apps stand on: back-off, polling, sessions, statements, UUIDs."""

from __future__ import annotations

import time
import uuid
from contextlib import closing
from random import Random

import psycopg
import pytest
from django.db import connections
from hypothesis import given
from hypothesis import strategies as st

from hodei.backoff import Backoff
from hodei.compat import uuid7
from hodei.polling import Bell, Pace
from hodei.sessions import connect, is_pooled, owner_name
from hodei.sql import statement


class TestBackoff:
    @given(st.integers(1, 10_000), st.integers())
    def test_is_within_its_bounds(self, attempt: int, seed: int) -> None:
        backoff = Backoff(base=0.5, cap=30.0)

        pause = backoff.pause(attempt, Random(seed))

        assert backoff.longest(attempt) / 10 <= pause <= backoff.longest(attempt) <= 30.0

    def test_doubles_up_to_the_cap(self) -> None:
        assert [Backoff(base=1, cap=10).longest(n) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


class TestPace:
    def test_doubles_while_nothing_is_found(self) -> None:
        pace = Pace(shortest=0.1, longest=0.5)

        assert [pace.nothing() for _ in range(4)] == pytest.approx([0.1, 0.2, 0.4, 0.5])
        pace.found()
        assert pace.nothing() == pytest.approx(0.1)


class TestUuid7:
    def test_is_what_the_rfc_says(self) -> None:
        before = time.time_ns() // 1_000_000
        made = [uuid7() for _ in range(1000)]
        after = time.time_ns() // 1_000_000

        assert len(set(made)) == 1000
        for one in made:
            assert (one.version, one.variant) == (7, uuid.RFC_4122)
            assert before <= one.int >> 80 <= after
        assert len({one.bytes[-1] & 63 for one in made}) == 64


class TestStatement:
    def test_is_the_text_of_a_file_without_its_comment(self) -> None:
        text = statement("outbox", "take_lanes")

        assert text.startswith("SELECT count(pg_advisory_xact_lock(%(turn)s, lane))\n")
        assert "--" not in text

    def test_holds_the_parts_that_it_shares_with_others(self) -> None:
        part = statement("sagas", "parts/live_kinds")
        for name in ("statistics", "longest_due", "for_a_person"):
            text = statement("sagas", name)

            assert text.startswith(f"{part}\n")
            assert "\\ir" not in text

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(FileNotFoundError):
            statement("outbox", "nonsense")


@pytest.mark.django_db
class TestSessions:
    def test_are_in_autocommit_and_tell_who_they_are(self) -> None:
        with connect("default", "hodei test") as session:
            name = session.execute("SELECT current_setting('application_name')").fetchone()

            assert session.autocommit
            assert not is_pooled(session)
            assert session.info.dbname == connections["default"].settings_dict["NAME"]
        assert name == (f"hodei test {owner_name()}"[:63],)

    def test_have_no_limit_of_time_unless_they_are_to(self) -> None:
        limit = "SELECT current_setting('statement_timeout')"
        with connect("default", "patient") as one, connect("default", "not", patience=5.0) as two:
            assert one.execute(limit).fetchone() == ("0",)
            assert two.execute(limit).fetchone() == ("4s",)
            with two.transaction():
                assert two.execute("SELECT 7").fetchone() == (7,)

    def test_that_have_one_do_not_wait_for_an_answer_that_never_comes(self) -> None:
        with closing(connect("default", "impatient", patience=0.3)) as session:
            # The server goes on for a while, and then is not in the way of what comes after.
            session.execute("SET statement_timeout = '1s'")

            with pytest.raises(psycopg.OperationalError, match=r"no answer for 0\.3 seconds"):
                session.execute("SELECT pg_sleep(60)")

    def test_that_have_one_wait_for_notifications_as_long_as_they_are_told(self) -> None:
        with connect("default", "impatient", patience=5.0) as session:
            assert list(session.notifies(timeout=0.3)) == []


@pytest.mark.django_db
class TestBell:
    def test_rings_for_who_sleeps_and_not_for_who_works(self) -> None:
        rings = (
            "SELECT CASE WHEN pg_try_advisory_lock_shared(77, 5) "
            "THEN pg_advisory_unlock_shared(77, 5)::text ELSE pg_notify('bell', '')::text END"
        )
        with connect("default", "sleeper") as session, connect("default", "writer") as writer:
            bell = Bell(session, channel="bell", gate=77, listens=True)

            writer.execute(rings)
            assert not bell.wait(0.01)
            bell.close_gates([4, 5])
            writer.execute(rings)
            assert bell.wait(30.0)
            bell.open_gates()
            writer.execute(rings)
            assert not bell.wait(0.01)

    def test_without_listening_it_takes_no_locks(self) -> None:
        with connect("default", "sleeper") as session:
            bell = Bell(session, channel="bell", gate=77, listens=False)
            bell.close_gates([1])

            found = session.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
                "AND pid = pg_backend_pid()"
            ).fetchone()
            assert found == (0,)
            assert not bell.wait(0.01)
