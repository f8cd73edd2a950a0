"""Every command in projects that have ``hodei.schema`` and nothing else of Hodei."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.databases import new_database
from tests.schema.conftest import APPS, Session

pytestmark = [pytest.mark.process, pytest.mark.no_cover]


def execute(database: dict[str, Any], sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(
        dbname=database["NAME"],
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=database["PASSWORD"],
        autocommit=True,
    ) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.every_server
class TestAWholeProject:
    """A user model of its own, contrib apps, apps of others, and awkward migrations."""

    def test_passes_every_command_and_goes_back_and_forth(
        self, session: Session, database: dict[str, Any], tmp_path: Path
    ) -> None:
        snapshot = tmp_path / "schema.json"
        expected = {
            "check": 0,
            "schema_status --check": 1,
            "schema_plan": 0,
            "schema_wait --timeout 0": 1,
            "GET /health/live": 200,
            "migrate --verbosity 0": 0,
            "migrate --check": 0,
            "makemigrations --check --dry-run crew account socialaccount token_blacklist": 0,
            "schema_status --check --app crew --app token_blacklist": 0,
            "schema_status --format json": 0,
            "schema_history --app crew": 0,
            "schema_history 1": 0,
            "schema_validate --strict --privileges": 0,
            "schema_validate --strict --privileges --rebuild": 0,
            f"schema_snapshot --output {snapshot}": 0,
            f"schema_validate --strict --expected {snapshot}": 0,
            "schema_snapshot --live": 0,
            "schema_plan --format json": 0,
            "schema_wait --timeout 0 --drift": 0,
            "GET /health/ready": 200,
        }

        back_and_forth = {
            "migrate token_blacklist 0007 --verbosity 0": 0,
            "migrate crew zero --verbosity 0": 0,
            "migrate ledger zero --verbosity 0": 0,
            "schema_status --check ": 1,
            "schema_validate --format json": 1,
            "migrate --verbosity 0 ": 0,
            "schema_validate --strict": 0,
        }
        expected |= back_and_forth

        ends = dict(zip(expected, session(*expected, settings="settings_whole"), strict=True))

        found = {words: end["code"] for words, end in ends.items()}
        assert found == expected, [ends[w] for w in expected if found[w] != expected[w]]
        assert json.loads(ends["schema_validate --format json"]["out"])["findings"] == []
        assert "RunPython was not run" in ends["schema_validate --strict --privileges"]["out"]
        status = json.loads(ends["schema_status --format json"]["out"])
        assert status["valid"]
        assert {one["state"] for one in status["migrations"]} == {"applied"}
        assert json.loads(ends["schema_plan --format json"]["out"])["migrations"] == []
        written = json.loads(snapshot.read_text(encoding="utf-8"))["relations"]
        assert json.loads(ends["schema_snapshot --live"]["out"])["relations"] == written
        assert {"crew_member", "account_emailaddress", "token_blacklist_outstandingtoken"} < {
            relation["name"] for relation in written
        }
        assert "auth_user" not in {relation["name"] for relation in written}
        assert execute(database, "SELECT label FROM crew_badge") == [("first",)]


class TestSeveralDatabases:
    """The tables of one app are in a database of their own, by a router."""

    @pytest.fixture
    def aliases(self, database: dict[str, Any], django_db_blocker: Any) -> Iterator[dict[str, Any]]:
        with django_db_blocker.unblock(), new_database() as other:
            yield {"default": database, "ledgers": other}

    @pytest.fixture
    def run(self, session: Session, aliases: dict[str, Any]) -> Session:
        return lambda *commands: session(
            *commands,
            aliases=aliases,
            apps=f"{APPS}.ledger {APPS}.orchard",
            routers="tests.schema.routers.LedgerApart",
        )

    def test_each_command_acts_on_the_one_it_names_and_says_so(
        self, run: Session, aliases: dict[str, Any], tmp_path: Path
    ) -> None:
        snapshot = tmp_path / "schema.json"
        commands = (
            "migrate --database ledgers",
            "schema_status --database ledgers --check",
            "schema_history --database ledgers",
            "schema_history --database ledgers 1",
            "schema_validate --database ledgers --strict",
            "schema_validate --database ledgers --strict --rebuild",
            f"schema_snapshot --database ledgers --output {snapshot}",
            f"schema_validate --database ledgers --expected {snapshot}",
            "schema_plan --database ledgers",
            "schema_wait --database ledgers --timeout 0 --drift",
        )

        *ends, health, untouched, both = run(
            *commands,
            "GET /health/ready",
            "schema_status --check",
            "schema_wait --database ledgers --database default --timeout 0",
        )

        for words, end in zip(commands, ends, strict=True):
            assert end["code"] == 0, (words, end)
            assert "atabase: ledgers" in end["out"] + end["err"] or "'ledgers'" in end["out"], words
        relations = json.loads(snapshot.read_text(encoding="utf-8"))["relations"]
        assert [relation["name"] for relation in relations] == ["ledger_entry"]
        assert tables_of(aliases["ledgers"]) == [
            "django_migrations",
            "ledger_entry",
            "schema_migration_runs",
        ]
        assert tables_of(aliases["default"]) == []
        assert health["code"] == 503
        assert [
            (one["database"], one["pending"] == 0) for one in json.loads(health["out"])["databases"]
        ] == [("default", False), ("ledgers", True)]
        assert untouched["code"] == 1
        assert untouched["out"].startswith("Database: default\n")
        assert (both["code"], "'default'" in both["err"]) == (1, True)

    def test_drift_is_that_of_the_database_asked_about(self, run: Session) -> None:
        *_, default, ledgers, rebuilt = run(
            "migrate --verbosity 0",
            "migrate --database ledgers --verbosity 0",
            "SQL 'ALTER TABLE ledger_entry DROP COLUMN amount' ledgers",
            "SQL 'CREATE TABLE ledger_entry (id int)'",
            "schema_validate --format json",
            "schema_validate --database ledgers --format json",
            "schema_validate --database ledgers --format json --rebuild",
        )

        assert (default["code"], subjects(default)) == (0, [("unexpected_table", "ledger_entry")])
        missing = [("missing_column", "ledger_entry.amount")]
        assert (ledgers["code"], subjects(ledgers)) == (1, missing)
        assert (rebuilt["code"], subjects(rebuilt)) == (1, missing)
        assert json.loads(ledgers["out"])["database"] == "ledgers"

    def test_a_database_that_is_not_there_is_refused_by_all(self, run: Session) -> None:
        commands = [
            f"{word} --database ledger"
            for word in ("schema_status", "schema_history", "schema_validate", "schema_snapshot")
        ]
        commands += [f"{word} --database ledger" for word in ("schema_plan", "schema_wait")]

        for end in run(*commands):
            assert (end["code"], end["out"]) == (2, "")
            assert "There is no database 'ledger'" in end["err"]
            assert "ledgers" in end["err"]


class TestSeveralLastMigrations:
    def test_each_command_says_what_migrate_refuses(
        self, session: Session, database: dict[str, Any]
    ) -> None:
        session("migrate --verbosity 0")
        expected = {
            "migrate": 1,
            "schema_status": 0,
            "schema_status --check": 1,
            "schema_validate": 1,
            "schema_plan": 2,
            "schema_wait --timeout 30": 1,
            "GET /health/ready": 503,
        }

        ends = dict(zip(expected, session(*expected, apps=f"{APPS}.forked"), strict=True))

        assert {words: end["code"] for words, end in ends.items()} == expected, ends
        for words in ("migrate", "schema_plan", "schema_wait --timeout 30"):
            assert ends[words]["out"] == ""
        for words in ("schema_status", "schema_validate"):
            assert "App forked has 2 last migrations" in ends[words]["out"]
        assert "several last migrations in: forked" in ends["GET /health/ready"]["out"]


class TestExtensionTypes:
    """A type that an extension has put into another schema is not seen from the scratch schema."""

    @pytest.fixture
    def extension(self, database: dict[str, Any]) -> str:
        """The name of an extension, and of the type that it brings, that this server has."""
        rows = execute(database, "SELECT name FROM pg_available_extensions")
        there = [name for name in ("citext", "hstore", "ltree", "vector") if (name,) in rows]
        if not there:
            if "postgresql" in os.environ.get("HODEI_REQUIRE", "").split(","):
                pytest.fail("HODEI_REQUIRE names postgresql, and this server has no extensions.")
            pytest.skip("this server has no extension with a type")
        return there[0]

    @pytest.mark.parametrize("home", ["public", "extensions"])
    def test_are_compared_in_a_rebuild(
        self, session: Session, database: dict[str, Any], extension: str, home: str, tmp_path: Path
    ) -> None:
        snapshot = tmp_path / "schema.json"
        execute(database, f"CREATE SCHEMA IF NOT EXISTS {home}")
        execute(database, f"CREATE EXTENSION {extension} SCHEMA {home}")
        execute(database, f"ALTER DATABASE {database['NAME']} SET search_path TO public, {home}")

        def run(*commands: str) -> list[dict[str, Any]]:
            return session(*commands, apps=f"{APPS}.lexicon", LEXICON_EXTENSION=extension)

        migrated, refused, unwritten, rebuilt, written, compared, _, drifted = run(
            "migrate --verbosity 0",
            "schema_validate",
            "schema_snapshot",
            "schema_validate --strict --rebuild",
            f"schema_snapshot --rebuild --output {snapshot}",
            f"schema_validate --strict --expected {snapshot}",
            "SQL 'ALTER TABLE lexicon_word DROP COLUMN word, ADD COLUMN word text'",
            "schema_validate --rebuild --format json",
        )

        assert (migrated["code"], written["code"]) == (0, 0)
        for end in (refused, unwritten):
            assert (end["code"], end["out"]) == (3, "")
            assert "operator class of an extension may be in another schema" in end["err"]
            assert "schema_validate --rebuild" in end["err"]
        for end in (rebuilt, compared):
            assert (end["code"], end["err"]) == (0, "")
        assert drifted["code"] == 1
        (finding,) = json.loads(drifted["out"])["findings"]
        assert (finding["kind"], finding["subject"]) == ("column_type", "lexicon_word.word")
        assert finding["expected"].rpartition(".")[2] == extension


def tables_of(database: dict[str, Any]) -> list[str]:
    rows = execute(
        database,
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = "
        "'public'::regnamespace ORDER BY relname",
    )
    return [name for (name,) in rows]


def subjects(end: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["kind"], one["subject"]) for one in json.loads(end["out"])["findings"]]
