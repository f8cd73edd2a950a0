from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command, load_command_class
from django.core.management.commands import migrate as djangos
from django.db import connections
from django.db.utils import OperationalError

from hodei.schema import signals
from hodei.schema.history import read_runs
from hodei.schema.management.commands.migrate import Migrate
from hodei.schema.run.failures import MigrationBlocked
from hodei.schema.run.lock import RUN, LockNotFree, held, key_of
from hodei.schema.run.start import migration_run
from tests.databases import HERE
from tests.processes import eventually
from tests.schema.test_migrate.kit import Install, migrate, outcomes, tables


def advisory_locks(cursor: Any) -> int:
    cursor.execute(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {HERE}")
    (count,) = cursor.fetchone()
    return int(count)


class TestGivesWay:
    def load(self) -> Any:
        return load_command_class("hodei.schema", "migrate")

    def test_it_is_ours(self) -> None:
        assert type(self.load()) is Migrate

    def test_to_djangos_where_the_setting_says_so(self, settings: Any) -> None:
        settings.HODEI_SCHEMA_EXTEND_MIGRATE = False

        assert type(self.load()) is djangos.Command

    def test_to_the_next_app_that_has_one(self, settings: Any, install: Install) -> None:
        install("rival")
        settings.HODEI_SCHEMA_EXTEND_MIGRATE = False

        assert type(self.load()).__module__ == "tests.schema.apps.rival.management.commands.migrate"

    def test_another_engine_is_djangos_business(
        self, point_alias: Callable[..., str], install: Install, tmp_path: Path
    ) -> None:
        install("orchard")
        name = str(tmp_path / "database")
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": name})

        migrate(alias, "orchard")

        assert "schema_migration_runs" not in tables(alias)
        assert "django_migrations" in tables(alias)


class TestLock:
    def test_gives_up_after_the_time_it_was_given_and_says_who_holds_it(
        self, scratch: str, install: Install, another: psycopg.Connection[Any]
    ) -> None:
        install("ledger")
        another.execute(f"SELECT pg_advisory_lock({RUN}, {key_of('public')})")

        start = time.monotonic()
        with pytest.raises(LockNotFree) as caught:
            migrate(scratch, lock_wait=0.3)

        assert 0.3 <= time.monotonic() - start < 10
        assert f"pid {another.info.backend_pid} (somebody)" in str(caught.value)
        assert caught.value.exit_code == 4
        assert tables(scratch) == []

    def test_the_plan_is_read_when_the_lock_is_held(
        self, scratch: str, install: Install, another: psycopg.Connection[Any]
    ) -> None:
        install("ledger")
        another.execute(f"SELECT pg_advisory_lock({RUN}, {key_of('public')})")
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.append(self.migrate_and_close(scratch)))
        thread.start()
        asked = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
            "application_name LIKE 'hodei migrate%'"
        )
        assert eventually(lambda: another.execute(asked).fetchone() != (0,))
        call_command(djangos.Command(), database=scratch, verbosity=0)

        another.execute("SELECT pg_advisory_unlock_all()")
        thread.join(30)

        assert "No migrations to apply." in said[0]

    def migrate_and_close(self, alias: str) -> str:
        try:
            return migrate(alias)
        finally:
            connections[alias].close()

    def test_leaves_the_connection_as_it_was(self, scratch: str, install: Install) -> None:
        install("ledger")
        connection = connections[scratch]
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '77s'; SET statement_timeout = '88s'")
        migrate(scratch)

        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), "
                "current_setting('client_connection_check_interval')"
            )
            assert cursor.fetchone() == ("77s", "88s", "0")
            # A session that was closed ends a moment later.
            assert eventually(lambda: advisory_locks(cursor) == 0)
        assert connection.execute_wrappers == []

    def test_a_migration_may_migrate_the_same_database(
        self, scratch: str, install: Install
    ) -> None:
        install("ledger", "orchard")

        def go_on(name: str, **_: Any) -> None:
            if name == "0001_initial" and not read_runs(scratch, app="orchard"):
                call_command("migrate", "orchard", database=scratch, verbosity=0, lock_wait=0)

        def hear(sender: Any, app: str, **facts: Any) -> None:
            if app == "ledger":
                go_on(**facts)

        signals.migration_started.connect(hear)
        try:
            migrate(scratch, "ledger", "0001", lock_wait=0)
        finally:
            signals.migration_started.disconnect(hear)

        assert {run[2] for run in outcomes(scratch, "orchard")} == {"ok"}
        assert outcomes(scratch, "ledger") == [("0001_initial", "forward", "ok")]

    def test_a_holder_that_is_gone_is_noticed(
        self, scratch: str, install: Install, another: psycopg.Connection[Any]
    ) -> None:
        install("ledger")

        def end_the_session(sender: Any, name: str, **_: Any) -> None:
            if name == "0002_post":
                another.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks holder "
                    f"WHERE {held(RUN, 'public', 'holder')}"
                )

        signals.migration_started.connect(end_the_session)
        try:
            with pytest.raises(Exception, match="The session that holds the lock") as caught:
                migrate(scratch, "ledger")
        finally:
            signals.migration_started.disconnect(end_the_session)

        assert getattr(caught.value, "exit_code", None) == 3
        assert "0003_amount" in str(caught.value)
        # The one that was under way has committed with its record; no later one has begun.
        assert [name for name, *_ in outcomes(scratch, "ledger")] == ["0001_initial", "0002_post"]
        assert outcomes(scratch, "ledger")[-1][2] == "ok"


class TestNoConvoy:
    LIMIT = 1.5

    @pytest.fixture
    def before(self, scratch: str, install: Install, settings: Any) -> str:
        """The next migration takes a lock on Ship, then one on Dock."""
        install("harbour")
        migrate(scratch, "harbour", "0002")
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = self.LIMIT
        return scratch

    def client(self, dsn: str, stop: threading.Event, waits: list[float]) -> threading.Thread:
        """Somebody who reads Ship all the time, and notes how long each took."""

        def read() -> None:
            with psycopg.connect(dsn, autocommit=True) as session:
                while not stop.wait(0.02):
                    start = time.monotonic()
                    session.execute("SELECT count(*) FROM harbour_ship")
                    waits.append(time.monotonic() - start)

        thread = threading.Thread(target=read)
        thread.start()
        return thread

    def test_others_wait_no_longer_than_the_limit(
        self, before: str, another: psycopg.Connection[Any]
    ) -> None:
        stop, waits = threading.Event(), list[float]()
        another.execute("BEGIN; SELECT FROM harbour_ship")
        client = self.client(another.info.dsn, stop, waits)
        try:
            with (
                pytest.raises(OperationalError) as caught,
                migration_run(before, command="test", lock_retries=1) as run,
            ):
                call_command(djangos.Command(), "harbour", database=before, verbosity=0)
        finally:
            stop.set()
            client.join(30)

        assert getattr(caught.value.__cause__, "sqlstate", None) == "55P03"
        told = run.failure()
        assert isinstance(told, MigrationBlocked)
        assert told.exit_code == 4
        assert "did not get its locks in 2 attempts" in str(told)
        assert f"pid {another.info.backend_pid} (somebody, idle in transaction)" in str(told)
        assert "SELECT FROM harbour_ship" in str(told)
        assert self.LIMIT / 2 < max(waits) < self.LIMIT + 1
        assert outcomes(before, "harbour")[-2:] == [("0003_depth", "forward", "failed")] * 2

    def test_all_waits_of_an_attempt_together_are_within_the_limit(
        self, before: str, another: psycopg.Connection[Any]
    ) -> None:
        """It gets the first lock late, and then waits for the second with the first in hand."""
        stop, waits = threading.Event(), list[float]()
        dsn = another.info.dsn
        another.execute("BEGIN; SELECT FROM harbour_dock")
        with psycopg.connect(dsn) as first:
            first.execute("SELECT FROM harbour_ship")
            client = self.client(dsn, stop, waits)

            def let_go() -> None:
                waiting = (
                    f"SELECT FROM pg_locks WHERE {HERE} AND NOT granted AND "
                    f"clock_timestamp() - waitstart > '{self.LIMIT * 0.7} seconds'"
                )
                with psycopg.connect(dsn, autocommit=True) as third:
                    assert eventually(lambda: third.execute(waiting).rowcount > 0)
                first.rollback()

            thread = threading.Thread(target=let_go)
            thread.start()
            start = time.monotonic()
            try:
                with pytest.raises(OperationalError):
                    migrate(before, "harbour", lock_retries=0)
                took = time.monotonic() - start
            finally:
                thread.join(30)
                stop.set()
                client.join(30)

        # Each within its own limit, the two waits would be 1.7 times the limit.
        assert max(waits) < self.LIMIT * 1.5
        assert took < self.LIMIT * 1.5 + 1

    def test_a_lock_that_comes_free_is_taken_the_next_time(
        self, before: str, another: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.3
        another.execute("BEGIN; SELECT FROM harbour_dock")

        def let_go(sender: Any, **_: Any) -> None:
            another.execute("COMMIT")

        signals.migration_failed.connect(let_go)
        try:
            said = migrate(before, "harbour")
        finally:
            signals.migration_failed.disconnect(let_go)

        assert outcomes(before, "harbour")[-2:] == [
            ("0003_depth", "forward", "failed"),
            ("0003_depth", "forward", "ok"),
        ]
        assert "attempt 1 of 6; the next in" in said
        assert said.count("Applying harbour.0003_depth...") == 1
        with connections[before].cursor() as cursor:
            cursor.execute("SELECT draught FROM harbour_ship; SELECT depth FROM harbour_dock")
