from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.commands import migrate as djangos
from django.db import DataError, connections
from django.db.utils import IntegrityError

from hodei.schema.history import read_runs
from hodei.schema.run.lock import RUN, key_of
from tests.schema.test_migrate.kit import Install, migrate, outcomes, tables


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
