"""``migrate`` as this app extends it: what it records, how it waits, how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command, load_command_class
from django.core.management.commands import migrate as djangos
from django.db import DataError, connections
from django.db.utils import IntegrityError, OperationalError

from hodei.schema import signals
from hodei.schema.history import INTERRUPTED, read_runs
from hodei.schema.management.commands.migrate import Migrate
from hodei.schema.run.concurrently import IndexStands
from hodei.schema.run.failures import MigrationBlocked
from hodei.schema.run.lock import RUN, LockNotFree, held, key_of
from hodei.schema.run.start import migration_run
from tests.processes import eventually
from tests.schema.conftest import Run

Install = Callable[..., None]


def migrate(alias: str, *target: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("migrate", *target, database=alias, stdout=out, stderr=out, **options)
    return out.getvalue().removeprefix(f"Database: {alias}\n")


def advisory_locks(cursor: Any) -> int:
    cursor.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    (count,) = cursor.fetchone()
    return int(count)


def outcomes(alias: str, app: str) -> list[tuple[str, str, str]]:
    """(name, direction, outcome), oldest first."""
    runs = reversed(read_runs(alias, app=app))
    return [(run.name, run.direction.value, run.outcome) for run in runs]


def tables(alias: str) -> list[str]:
    return connections[alias].introspection.table_names()


@pytest.fixture
def another(database: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    """A session of somebody else."""
    with psycopg.connect(
        dbname=database["NAME"],
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=database["PASSWORD"],
        application_name="somebody",
        autocommit=True,
    ) as connection:
        yield connection


class TestRecorded:
    def test_what_is_applied_and_what_is_undone(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch, "ledger", "0001")
        migrate(scratch, "ledger", "zero")

        assert outcomes(scratch, "ledger") == [
            ("0001_initial", "forward", "ok"),
            ("0001_initial", "backward", "ok"),
        ]
        newest, oldest = read_runs(scratch, app="ledger")
        assert newest.batch != oldest.batch
        assert oldest.command == "migrate ledger 0001"
        assert oldest.duration_ms is not None
        assert oldest.finished_at is not None
        assert oldest.checksum is not None
        assert oldest.host
        assert oldest.os_user

    def test_the_history_outlives_its_own_migration(self, scratch: str, install: Install) -> None:
        install()
        migrate(scratch)
        migrate(scratch, "hodei_schema", "zero")

        assert outcomes(scratch, "hodei_schema") == [
            ("0001_history", "forward", "ok"),
            ("0001_history", "backward", "ok"),
        ]

    @pytest.mark.django_db
    def test_models_and_migrations_agree(self) -> None:
        call_command("makemigrations", "hodei_schema", check=True, dry_run=True, verbosity=0)

    @pytest.mark.parametrize("direction", ["forward", "backward"])
    def test_what_is_faked(self, scratch: str, install: Install, direction: str) -> None:
        install("ledger")
        migrate(scratch, "ledger", "0001", fake=True)
        if direction == "backward":
            migrate(scratch, "ledger", "zero", fake=True)

        run = read_runs(scratch, app="ledger")[0]

        assert (run.outcome, run.direction, run.duration_ms) == ("faked", direction, None)
        assert "ledger_entry" not in tables(scratch)

    def test_what_is_found_to_be_there(self, scratch: str, install: Install) -> None:
        install("ledger")
        with connections[scratch].cursor() as cursor:
            cursor.execute("CREATE TABLE ledger_entry (id bigint PRIMARY KEY)")
        migrate(scratch, "ledger", "0001", fake_initial=True)

        assert outcomes(scratch, "ledger") == [("0001_initial", "forward", "faked")]

    def test_a_failure_with_all_that_is_known_of_it(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("ledger")
        monkeypatch.setenv("LEDGER_AMOUNT", "nonsense")
        with pytest.raises(DataError):
            migrate(scratch)

        (run,) = read_runs(scratch, failed_only=True)

        assert (run.app, run.name, run.outcome) == ("ledger", "0002_post", "failed")
        assert run.sqlstate == "22P02"
        assert run.operation == "Raw Python operation"
        assert run.error is not None
        assert run.error.endswith("(SQLSTATE 22P02)")
        assert run.traceback is not None
        assert "in post" in run.traceback
        assert run.duration_ms is not None

    def test_a_squashed_migration_is_one_run(self, scratch: str, install: Install) -> None:
        install("quarry")
        migrate(scratch, "quarry", "0001_squashed_0002_weight")
        migrate(scratch, "quarry", "zero")

        name = "0001_squashed_0002_weight"
        assert outcomes(scratch, "quarry") == [
            (name, "forward", "ok"),
            (name, "backward", "ok"),
        ]
        with connections[scratch].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM django_migrations WHERE app = 'quarry'")
            assert cursor.fetchone() == (0,)

    @pytest.mark.parametrize("words", [("harbour", "0001"), ("harbour", "zero")])
    def test_records_commit_with_what_they_tell_of(
        self, scratch: str, install: Install, words: tuple[str, str]
    ) -> None:
        """The server tells which transaction has written a row."""
        install("harbour")
        if words[1] == "zero":
            migrate(scratch, "harbour", "0001")
        with connections[scratch].cursor() as cursor:
            # What was done, and both records, leave their transaction's number here.
            cursor.execute(
                """
                CREATE TABLE seen (what text, xid xid8);
                CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    INSERT INTO seen VALUES (TG_TABLE_NAME || ' ' || TG_OP,
                                             pg_current_xact_id());
                    RETURN NULL; END $$;
                CREATE FUNCTION see_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF TG_TAG IN ('ALTER TABLE', 'DROP TABLE') THEN
                        INSERT INTO seen VALUES ('ddl', pg_current_xact_id());
                    END IF; END $$;
                CREATE EVENT TRIGGER seeing ON ddl_command_end EXECUTE FUNCTION see_ddl();
                """
            )
        if words[1] != "zero":
            migrate(scratch, "contenttypes")
        with connections[scratch].cursor() as cursor:
            cursor.execute(
                """
                CREATE TRIGGER see AFTER INSERT OR DELETE ON django_migrations
                    FOR EACH ROW EXECUTE FUNCTION see();
                CREATE TRIGGER see AFTER UPDATE ON schema_migration_runs
                    FOR EACH ROW EXECUTE FUNCTION see();
                TRUNCATE seen
                """
            )
        migrate(scratch, *words)

        with connections[scratch].cursor() as cursor:
            cursor.execute("SELECT what, count(DISTINCT xid) FROM seen GROUP BY what")
            kinds = dict(cursor.fetchall())
            cursor.execute("SELECT count(DISTINCT xid) FROM seen")
            (transactions,) = cursor.fetchone()
        django = "DELETE" if words[1] == "zero" else "INSERT"
        assert kinds == {
            "ddl": 1,
            f"django_migrations {django}": 1,
            "schema_migration_runs UPDATE": 1,
        }
        assert transactions == 1

    def test_a_commit_that_fails_is_a_failure(self, scratch: str, install: Install) -> None:
        install("harbour", "ledger")
        migrate(scratch, "harbour", "0001")
        migrate(scratch, "ledger", "0001")
        with connections[scratch].cursor() as cursor:
            cursor.execute(
                """
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE unique_violation USING MESSAGE = 'not at the end either'; END $$;
                CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ledger_entry
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
                """
            )
        with pytest.raises(IntegrityError, match="not at the end either"):
            migrate(scratch, "ledger", "0002")

        assert outcomes(scratch, "ledger")[-1] == ("0002_post", "forward", "failed")

    def test_nothing_to_do_leaves_nothing(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch)
        before = len(read_runs(scratch))

        assert "No migrations to apply." in migrate(scratch)
        assert len(read_runs(scratch)) == before

    @pytest.mark.parametrize("option", ["plan", "check_unapplied"])
    def test_a_look_writes_nothing_and_waits_for_nobody(
        self, scratch: str, install: Install, option: str, another: psycopg.Connection[Any]
    ) -> None:
        install("ledger")
        another.execute(f"SELECT pg_advisory_lock({RUN}, {key_of('public')})")

        with suppress(SystemExit):  # how --check says that something is pending
            migrate(scratch, **{option: True, "lock_wait": 0})

        assert tables(scratch) == []

    def test_a_role_that_may_make_no_table(
        self, scratch: str, install: Install, another: psycopg.Connection[Any], database: Any
    ) -> None:
        install("ledger")
        connections[scratch].settings_dict["OPTIONS"] = {"assume_role": "pg_monitor"}

        with pytest.raises(Exception, match="Cannot write the history") as caught:
            migrate(scratch)

        assert getattr(caught.value, "exit_code", None) == 3
        assert tables(scratch) == []


class TestOutput:
    def test_is_that_of_django(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch, "contenttypes")
        migrate(scratch, "hodei_schema")

        ours = migrate(scratch, "ledger")
        migrate(scratch, "ledger", "zero")
        out = io.StringIO()
        call_command(djangos.Command(), "ledger", database=scratch, stdout=out)

        assert ours == out.getvalue()

    def test_a_terminal_shows_what_takes_long(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("ledger")
        monkeypatch.setenv("LEDGER_SECONDS", "1.8")
        out = io.StringIO()
        out.isatty = lambda: True  # type: ignore[method-assign]

        call_command("migrate", "ledger", database=scratch, stdout=out, no_color=True)

        text = out.getvalue()
        assert "\r\x1b[2K  Applying ledger.0002_post... 2 of 3, 1 s, Raw Python operation" in text
        assert text.rstrip().split("\r\x1b[2K")[-1].startswith("  Applying ledger.0002_post... OK")


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
        asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'hodei migrate%'"
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


class TestSignals:
    def test_tell_of_a_run(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("ledger")
        monkeypatch.setenv("LEDGER_AMOUNT", "nonsense")
        heard: list[tuple[str, Any]] = []
        named = {
            "run_started": lambda facts: facts["plan"][0][0],
            "migration_started": lambda facts: facts["name"],
            "migration_finished": lambda facts: facts["result"].name,
            "migration_failed": lambda facts: type(facts["exception"]),
            "run_finished": lambda facts: (facts["success"], len(facts["results"])),
        }
        hearing = [Hearing(name, heard) for name in named]
        for each in hearing:
            getattr(signals, each.name).connect(each)
        with pytest.raises(DataError):
            migrate(scratch, "ledger", "0002")

        assert [(name, named[name](facts)) for name, facts in heard] == [
            ("run_started", "ledger"),
            ("migration_started", "0001_initial"),
            ("migration_finished", "0001_initial"),
            ("migration_started", "0002_post"),
            ("migration_failed", DataError),
            ("run_finished", (False, 2)),
        ]
        assert len({facts["batch"] for _, facts in heard}) == 1

    def test_a_receiver_that_fails_stops_nothing(
        self, scratch: str, install: Install, caplog: pytest.LogCaptureFixture
    ) -> None:
        install("ledger")

        def fail(**_: Any) -> None:
            raise RuntimeError("of the receiver")

        signals.migration_finished.connect(fail)
        migrate(scratch, "ledger", "0001")

        assert outcomes(scratch, "ledger") == [("0001_initial", "forward", "ok")]
        assert "of a migration signal failed" in caplog.text


class Hearing:
    """A receiver that notes what it hears; weakly held by its signal, so kept by its test."""

    def __init__(self, name: str, heard: list[tuple[str, Any]]) -> None:
        self.name = name
        self._heard = heard

    def __call__(self, signal: Any, sender: Any, **facts: Any) -> None:
        self._heard.append((self.name, facts))


class TestIndexes:
    """An index that was to be built CONCURRENTLY, and what an earlier attempt has left."""

    INDEX = "harbour_ship_name_idx"

    @pytest.fixture
    def first(self, scratch: str, install: Install) -> str:
        install("harbour")
        migrate(scratch, "harbour", "0001")
        return scratch

    def execute(self, alias: str, statement: str) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(statement)

    def found(self, alias: str) -> tuple[bool, int]:
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT indisvalid, indexrelid::bigint FROM pg_index WHERE indexrelid = "
                f"'{self.INDEX}'::regclass"
            )
            row: tuple[bool, int] = cursor.fetchone()
        return row

    def test_one_that_is_invalid_is_built_again(self, first: str) -> None:
        self.execute(first, f"CREATE INDEX {self.INDEX} ON harbour_ship (name)")
        self.execute(
            first,
            f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{self.INDEX}'::regclass",
        )

        said = migrate(first, "harbour", "0002")

        assert self.found(first)[0]
        assert "left invalid by a failed build" in said

    def test_one_that_is_as_it_should_be_is_only_recorded(self, first: str) -> None:
        self.execute(first, f"CREATE INDEX {self.INDEX} ON harbour_ship (name)")
        before = self.found(first)

        said = migrate(first, "harbour", "0002")

        assert self.found(first) == before
        assert "it is not rebuilt" in said
        assert outcomes(first, "harbour")[-1] == ("0002_index", "forward", "ok")

    @pytest.mark.parametrize(
        "other", ["(name DESC)", "(dock_id)", "(name) WHERE name <> ''", "(name) INCLUDE (id)"]
    )
    def test_another_one_of_that_name_is_told(self, first: str, other: str) -> None:
        self.execute(first, f"CREATE INDEX {self.INDEX} ON harbour_ship {other}")

        with pytest.raises(IndexStands, match="not as the migration builds it"):
            migrate(first, "harbour", "0002")

        assert outcomes(first, "harbour")[-1] == ("0002_index", "forward", "failed")

    def test_it_waits_for_a_long_transaction_without_limit(
        self, first: str, another: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.2
        another.execute("BEGIN; INSERT INTO harbour_ship (name) VALUES ('late')")
        waiting = (
            "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND "
            "clock_timestamp() - waitstart > '1 second' AND query LIKE 'CREATE INDEX CONC%'"
        )

        def end_it() -> None:
            with psycopg.connect(another.info.dsn, autocommit=True) as third:
                assert eventually(lambda: third.execute(waiting).rowcount > 0)
            another.execute("COMMIT")

        thread = threading.Thread(target=end_it)
        thread.start()
        migrate(first, "harbour", "0002")
        thread.join(30)

        assert self.found(first)[0]


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
                    "SELECT FROM pg_locks WHERE NOT granted AND clock_timestamp() - waitstart > "
                    f"'{self.LIMIT * 0.7} seconds'"
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


@pytest.mark.process
class TestCommandLine:
    def test_a_failure_is_one_line(self, manage: Run) -> None:
        done = manage("migrate", apps=("ledger",), LEDGER_AMOUNT="nonsense")

        assert done.returncode == 5
        assert "Traceback" not in done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("CommandError: Migration ledger.0002_post failed after ")
        assert "(SQLSTATE 22P02)" in line
        shown = manage("schema_history", "--failed", apps=("ledger",))
        assert "ledger  0002_post  forward    failed" in shown.stdout

    def test_no_database(self, manage: Run, database: dict[str, Any]) -> None:
        aliases = {"default": {**database, "NAME": "hodei_schema_no_such"}}

        done = manage("migrate", aliases=aliases)

        assert done.returncode == 3
        assert done.stderr.count("\n") == 1
        assert "no such database" in done.stderr

    def test_a_lock_that_is_held(self, manage: Run, another: psycopg.Connection[Any]) -> None:
        another.execute(f"SELECT pg_advisory_lock({RUN}, {key_of('public')})")

        done = manage("migrate", "--lock-wait", "0")

        assert done.returncode == 4
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("words", [["--lock-wait", "-1"], ["--lock-retries", "x"]])
    def test_misuse(self, manage: Run, words: list[str]) -> None:
        assert manage("migrate", *words).returncode == 2

    def test_a_killed_holder_is_followed_at_once(
        self, database: dict[str, Any], another: psycopg.Connection[Any]
    ) -> None:
        """It is killed in the middle of a statement that would go on for a minute."""
        sleeping = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        holder = start(database, LEDGER_SECONDS="60")
        try:
            assert eventually(lambda: another.execute(sleeping).rowcount > 0, 60)
            follower = start(database)
            waiting = (
                "SELECT FROM pg_stat_activity WHERE application_name LIKE 'hodei migrate%' AND "
                "query LIKE 'SELECT pg_try_advisory%' AND state = 'idle'"
            )
            assert eventually(lambda: another.execute(waiting).rowcount > 0, 60)
            os.kill(holder.pid, signal.SIGKILL)
            start_at = time.monotonic()
            assert eventually(
                lambda: (
                    another.execute(
                        "SELECT FROM schema_migration_runs WHERE error = %s", [INTERRUPTED]
                    ).rowcount
                    > 0
                )
            )
            took = time.monotonic() - start_at
            assert follower.wait(60) == 0
        finally:
            holder.kill()
            holder.wait()
        assert took < 2
        (row,) = another.execute(
            "SELECT name, success FROM schema_migration_runs WHERE NOT success"
        ).fetchall()
        assert row == ("0002_post", False)


def start(database: dict[str, Any], **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "django", "migrate", "-v0"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
            "SCHEMA_TEST_DATABASES": json.dumps({"default": database}),
            "SCHEMA_TEST_APPS": "tests.schema.apps.ledger",
            **env,
        },
    )
