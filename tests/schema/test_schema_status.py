"""The command ``schema_status``: in this process where that is enough, as one where it is not."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import CaptureQueriesContext

from hodei.schema.management.commands.schema_status import Command
from tests.schema.conftest import APPS, Session

Install = Callable[..., None]
Run = Callable[..., Any]


def status(alias: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("schema_status", database=alias, stdout=out, **options)
    return out.getvalue().removeprefix(f"Database: {alias}\n")


def report(alias: str, **options: Any) -> Any:
    return json.loads(status(alias, format="json", **options))


def migrate(alias: str, *target: str) -> None:
    call_command("migrate", *target, database=alias, verbosity=0)


@pytest.fixture
def half(applied: Callable[..., str]) -> str:
    """The alias of a database where the first two of three migrations of ``ledger`` are applied,
    and one that is unknown."""
    alias = applied("ledger", "bare")
    migrate(alias, "ledger", "0002")
    MigrationRecorder(connections[alias]).record_applied("ledger", "0009_newer")
    return alias


class TestTable:
    def test_lists_every_migration_and_sums_up(self, half: str) -> None:
        out = status(half, apps=["ledger"])

        lines = out.splitlines()
        instant = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        ran = rf"{instant} +\d+ ms +\w+"
        assert re.fullmatch(r"app +migration +state +applied at \(UTC\) +duration +by", lines[0])
        assert re.fullmatch(rf"ledger +0001_initial +applied +{ran}", lines[1])
        assert re.fullmatch(rf"ledger +0002_post +applied +{ran}", lines[2])
        assert re.fullmatch(r"ledger +0003_amount +pending +- +- +-", lines[3])
        assert re.fullmatch(rf"ledger +0009_newer +unknown +{instant} +- +external", lines[4])
        assert lines[5:] == ["", "Schema INVALID: 2/3 applied, 1 pending, 0 failed, 1 unknown"]

    def test_pending_narrows_the_list_and_not_the_sum(self, half: str) -> None:
        lines = status(half, pending=True).splitlines()

        assert [line.split()[:2] for line in lines[1:-2]] == [["ledger", "0003_amount"]]
        assert lines[-1] == "Schema INVALID: 5/6 applied, 1 pending, 0 failed, 1 unknown"

    def test_without_pending_ones_there_is_no_table(self, scratch: str, install: Install) -> None:
        install("orchard")
        migrate(scratch)

        assert status(scratch, pending=True) == "Schema valid: 7/7 migrations applied\n"

    def test_an_app_without_migrations_is_told(self, half: str) -> None:
        assert status(half, apps=["bare"]) == (
            "App bare has no migrations.\nSchema valid: 0/0 migrations applied\n"
        )

    def test_a_conflict_is_told(self, scratch: str, install: Install) -> None:
        install("forked")

        out = status(scratch)

        assert "App forked has 2 last migrations: 0002_left, 0002_right." in out
        assert out.endswith("0 failed, 1 conflicting\n")

    def test_fits_a_hundred_columns(self, scratch: str, install: Install) -> None:
        install("ledger")
        MigrationRecorder(connections[scratch]).record_applied("ledger", "0004_" + "long_" * 40)

        assert max(map(len, status(scratch).splitlines())) == 100

    def test_colours_only_where_they_are_asked_for(self, half: str) -> None:
        assert "\x1b[" not in status(half)
        assert "\x1b[" in status(half, force_color=True)

    def test_colours_a_terminal(self, half: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        out = io.StringIO()
        out.isatty = lambda: True  # type: ignore[method-assign]
        command = Command(force_color=True)

        call_command(command, database=half, stdout=out)

        assert "\x1b[" in out.getvalue()


class TestJson:
    def test_has_these_keys(self, half: str) -> None:
        found = report(half, apps=["ledger"])

        instants = [migration.pop("applied_at") for migration in found["migrations"]]
        durations = [migration.pop("duration_ms") for migration in found["migrations"]]
        roles = [migration.pop("by") for migration in found["migrations"]]
        runs = [migration.pop("run") for migration in found["migrations"]]
        assert [duration is None for duration in durations] == [False, False, True, True]
        assert roles[0] == roles[1] != roles[2] is roles[3] is None
        assert runs[0] < runs[1]
        assert {migration.pop("error") for migration in found["migrations"]} == {None}
        external = [migration.pop("external") for migration in found["migrations"]]
        assert external == [False, False, False, True]
        assert instants[2] is None
        assert datetime.now(UTC) - datetime.fromisoformat(instants[0]) < timedelta(minutes=5)
        assert datetime.fromisoformat(instants[0]).utcoffset() == timedelta(0)
        assert found.pop("findings")[0].pop("message").startswith("Migration ledger.0009_newer")
        assert found == {
            "format_version": 1,
            "database": half,
            "valid": False,
            "summary": "Schema INVALID: 2/3 applied, 1 pending, 0 failed, 1 unknown",
            "counts": {"applied": 2, "expected": 3, "pending": 1, "failed": 0, "unknown": 1},
            "last_migration": "ledger.0009_newer",
            "migrations": [
                {"app": "ledger", "name": "0001_initial", "state": "applied"},
                {"app": "ledger", "name": "0002_post", "state": "applied"},
                {"app": "ledger", "name": "0003_amount", "state": "pending"},
                {"app": "ledger", "name": "0009_newer", "state": "unknown"},
            ],
        }

    def test_findings_have_these_keys(self, half: str) -> None:
        (finding,) = report(half)["findings"]

        assert finding.pop("message")
        assert finding == {
            "kind": "unknown",
            "severity": "warning",
            "subject": "ledger.0009_newer",
        }

    def test_every_key_is_documented(self, half: str) -> None:
        page = Path(__file__).parents[2] / "docs" / "reference" / "schema_status.md"
        text = page.read_text(encoding="utf-8")

        def keys(value: Any) -> set[str]:
            if isinstance(value, dict):
                return set(value).union(*map(keys, value.values()))
            return set().union(*map(keys, value)) if isinstance(value, list) else set()

        assert {key for key in keys(report(half)) if f"`{key}`" not in text} == set()

    def test_of_an_empty_database(self, scratch: str, install: Install) -> None:
        install("ledger")

        found = report(scratch)

        assert found["last_migration"] is None
        assert {migration["state"] for migration in found["migrations"]} == {"pending"}
        assert connections[scratch].introspection.table_names() == []


class TestCheck:
    def test_is_content_with_a_valid_schema(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch)

        assert "Schema valid" in status(scratch, check=True)

    def test_fails_with_pending_migrations(self, half: str) -> None:
        with pytest.raises(SystemExit) as caught:
            status(half, check=True)

        assert caught.value.code == 1

    def test_fails_with_a_conflict(self, scratch: str, install: Install) -> None:
        install("forked")
        for name in ("0001_initial", "0002_left", "0002_right"):
            MigrationRecorder(connections[scratch]).record_applied("forked", name)

        with pytest.raises(SystemExit):
            status(scratch, check=True, apps=["forked"])

    def test_unknown_migrations_alone_are_no_failure(self, half: str) -> None:
        migrate(half)

        assert status(half, check=True).endswith("applied, 1 unknown\n")

    def test_answers_for_the_chosen_apps_alone(self, half: str) -> None:
        assert "Schema valid" in status(half, check=True, apps=["contenttypes"])


class TestMisuse:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"apps": ["legder"]}, "There is no app 'legder'. Did you mean ledger?"),
            ({"apps": ["ledger", "zzz"]}, "There is no app 'zzz'; there are: bare, contenttypes,"),
            ({"database": "scrach"}, "There is no database 'scrach'. Did you mean scratch?"),
        ],
    )
    def test_a_wrong_name_lists_the_near_ones(
        self, half: str, options: dict[str, Any], text: str
    ) -> None:
        with pytest.raises(CommandError) as caught:
            status(**{"alias": options.pop("database", half), **options})

        assert str(caught.value).startswith(text)
        assert caught.value.returncode == 2

    def test_another_engine_is_refused(self, point_alias: Callable[..., str]) -> None:
        with pytest.raises(CommandError, match="PostgreSQL alone") as caught:
            status(point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}))

        assert caught.value.returncode == 2

    def test_a_broken_graph_is_told(self, scratch: str, install: Install) -> None:
        install("orphaned")

        with pytest.raises(CommandError, match="make no graph") as caught:
            status(scratch)

        assert caught.value.returncode == 2


class TestUnverified:
    def test_no_connection(self, point_alias: Callable[..., str], database: dict[str, Any]) -> None:
        with pytest.raises(CommandError, match="no such database") as caught:
            status(point_alias(database, NAME="hodei_schema_no_such"))

        assert caught.value.returncode == 3

    def test_no_right_to_read(self, half: str) -> None:
        with connections[half].cursor() as cursor:
            cursor.execute("SET ROLE pg_monitor")

        with pytest.raises(CommandError, match="permission denied for table") as caught:
            status(half)

        assert caught.value.returncode == 3
        assert "\n" not in str(caught.value)


class TestCost:
    def test_asks_the_database_hardly_more_than_showmigrations(self, half: str) -> None:
        with CaptureQueriesContext(connections[half]) as theirs:
            call_command("showmigrations", database=half, stdout=io.StringIO())
        with CaptureQueriesContext(connections[half]) as ours:
            status(half)

        assert len(ours) <= len(theirs) + 1

    def test_runs_no_system_checks(self) -> None:
        assert Command.requires_system_checks == []


@pytest.mark.process
class TestProcess:
    def test_pending_and_healthy(self, session: Session) -> None:
        pending, _, healthy = session(
            "schema_status --check --format json",
            "migrate -v0",
            "schema_status --check",
            apps=f"{APPS}.orchard",
        )

        assert (pending["code"], pending["err"]) == (1, "")
        assert json.loads(pending["out"])["counts"]["pending"] == 19
        assert (healthy["code"], healthy["err"]) == (0, "")
        assert healthy["out"].endswith("Schema valid: 19/19 migrations applied\n")

    def test_misuse(self, session: Session) -> None:
        for end in session(
            *(f"schema_status {words}" for words in ("--database x", "--format xml", "--app x"))
        ):
            assert (end["code"], end["out"]) == (2, "")
            assert "Traceback" not in end["err"]

    def test_a_database_out_of_reach(self, session: Session, database: dict[str, Any]) -> None:
        aliases = {"default": {**database, "NAME": "hodei_schema_no_such"}, "second": database}

        *unreachable, second = session(
            "schema_status",
            "schema_status --check",
            "schema_status --format json",
            "schema_status --database second",
            aliases=aliases,
        )

        for end in unreachable:
            assert (end["code"], end["out"]) == (3, "")
            assert end["err"].count("\n") == 1
            assert "no such database" in end["err"]
        assert second["code"] == 0
        assert second["out"].endswith("15 pending, 0 failed\n")

    def test_an_app_that_fails_its_checks_is_no_hindrance(self, manage: Run) -> None:
        assert "faulty.E001" in manage("showmigrations", apps=("faulty",)).stderr

        done = manage("schema_status", apps=("faulty",))

        assert done.returncode == 0
        assert done.stderr == ""


class TestHelp:
    def test_explains_every_option_to_a_newcomer(self) -> None:
        text = " ".join(Command().create_parser("manage.py", "schema_status").format_help().split())

        for told in (
            "applied, pending (on disk, not in the database yet: migrate would run it)",
            "failed (pending, and its last attempt failed)",
            "Reads only, changes nothing, except with --accept.",
            "0 fine, 1 not valid (with --check), 2 misuse or wrong configuration, 3",
            "a name in the DATABASES setting (default",
            "JSON for a script",
            "Exit with 1 unless every migration on disk is applied",
            "List only the pending migrations, failed and out of order ones among them.",
            "May be given several times",
        ):
            assert told in text
