"""The history as a command shows it, and what ``schema_status`` makes of it."""

from __future__ import annotations

import csv
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
from django.core.management.commands import migrate as djangos
from django.db import DataError, connections

from hodei.schema.history import read_runs
from hodei.schema.results import FindingKind
from hodei.schema.run.lock import RUN, key_of
from hodei.schema.status import MigrationState, MigrationStatus, read_status
from hodei.schema.timing import duration, instant

Install = Callable[..., None]


def migrate(alias: str, *target: str, **options: Any) -> None:
    call_command("migrate", *target, database=alias, verbosity=0, **options)


def shown(alias: str, *words: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("schema_history", *words, database=alias, stdout=out, **options)
    return out.getvalue().removeprefix(f"Database: {alias}\n")


def execute(alias: str, statement: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)


def status_of(alias: str, app: str, name: str) -> MigrationStatus:
    return next(m for m in read_status(alias).migrations if m.key == (app, name))


@pytest.fixture
def failed(scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database where the second migration of ``ledger`` has failed."""
    install("ledger")
    monkeypatch.setenv("LEDGER_AMOUNT", "nonsense")
    with pytest.raises(DataError):
        migrate(scratch, "ledger")
    monkeypatch.delenv("LEDGER_AMOUNT")
    return scratch


class TestTable:
    def test_lists_the_newest_first(self, failed: str) -> None:
        lines = shown(failed).splitlines()

        when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d+ ms +\w+"
        assert re.fullmatch(
            r"run +app +migration +direction +outcome +started at \(UTC\) +duration +by", lines[0]
        )
        assert re.fullmatch(rf"2 +ledger +0002_post +forward +failed +{when}", lines[1])
        assert re.fullmatch(rf"1 +ledger +0001_initial +forward +ok +{when}", lines[2])

    def test_narrows(self, failed: str) -> None:
        migrate(failed)

        assert shown(failed, failed=True).count("\n") == 2
        assert shown(failed, limit=1).count("\n") == 2
        assert "contenttypes" not in shown(failed, app="ledger", limit=0)
        assert "0001_initial" in shown(failed, since=datetime.now(UTC) - timedelta(hours=1))
        later = shown(failed, since=datetime.now(UTC) + timedelta(hours=1))
        assert later == "Nothing is recorded that fits.\n"

    def test_a_limit_beyond_all_numbers(self, failed: str) -> None:
        assert shown(failed, "--limit", "9" * 30) == shown(failed, limit=0)

    @pytest.mark.parametrize("limit", ["-1", "many", "\N{SUPERSCRIPT TWO}"])
    def test_a_limit_that_is_none(self, failed: str, limit: str) -> None:
        with pytest.raises(CommandError, match="is no number of runs; give 0 or more"):
            shown(failed, f"--limit={limit}")

    def test_shows_one_whole(self, failed: str) -> None:
        out = shown(failed, "2")

        assert "operation: Raw Python operation" in out
        assert "sqlstate: 22P02" in out
        assert "Traceback (most recent call last)" in out

    def test_there_is_none_of_that_number(self, failed: str) -> None:
        with pytest.raises(CommandError, match="There is no run 99") as caught:
            shown(failed, "99")

        assert caught.value.returncode == 1

    def test_a_wrong_app(self, failed: str) -> None:
        with pytest.raises(CommandError, match="Did you mean ledger") as caught:
            shown(failed, app="legder")

        assert caught.value.returncode == 2

    def test_of_an_empty_database(self, scratch: str) -> None:
        assert shown(scratch) == "Nothing is recorded that fits.\n"
        assert connections[scratch].introspection.table_names() == []


class TestFormats:
    def test_json_has_the_documented_keys(self, failed: str) -> None:
        found = json.loads(shown(failed, format="json"))

        page = Path(__file__).parents[2] / "docs" / "reference" / "schema_history.md"
        text = page.read_text(encoding="utf-8")
        assert set(found) == {"format_version", "database", "runs"}
        assert {key for key in found["runs"][0] if f"`{key}`" not in text} == set()
        newest = found["runs"][0]
        assert (newest["outcome"], newest["success"], newest["sqlstate"]) == (
            *("failed", False),
            "22P02",
        )
        assert datetime.fromisoformat(newest["started_at"]).utcoffset() == timedelta(0)

    def test_csv_has_the_same_without_tracebacks(self, failed: str) -> None:
        rows = list(csv.DictReader(io.StringIO(shown(failed, format="csv"))))

        assert [row["outcome"] for row in rows] == ["failed", "ok"]
        keys = set(json.loads(shown(failed, format="json"))["runs"][0])
        assert set(rows[0]) == keys - {"traceback"}


class TestInterrupted:
    OPEN = "UPDATE schema_migration_runs SET success = NULL, error = NULL WHERE name = '0002_post'"

    def test_what_is_open_and_not_going_on(self, failed: str) -> None:
        execute(failed, self.OPEN)

        assert read_runs(failed, failed_only=True)[0].outcome == "interrupted"
        assert status_of(failed, "ledger", "0002_post").state is MigrationState.FAILED

    def test_what_is_going_on(self, failed: str) -> None:
        execute(failed, self.OPEN)
        execute(failed, f"SELECT pg_advisory_lock({RUN}, {key_of('public')})")

        assert read_runs(failed)[0].outcome == "running"
        assert read_runs(failed, failed_only=True) == []
        assert status_of(failed, "ledger", "0002_post").state is MigrationState.PENDING


class TestStates:
    def test_a_failed_one(self, failed: str) -> None:
        found = status_of(failed, "ledger", "0002_post")
        out = io.StringIO()
        call_command("schema_status", database=failed, stdout=out)

        assert found.state is MigrationState.FAILED
        assert "SQLSTATE 22P02" in (found.error or "")
        assert f"See: schema_history {found.run}" in out.getvalue()
        assert "1 failed" in out.getvalue()

    def test_a_failed_one_that_then_succeeds(self, failed: str) -> None:
        migrate(failed)

        assert status_of(failed, "ledger", "0002_post").state is MigrationState.APPLIED

    def test_a_way_back_that_failed_leaves_it_applied(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch, "ledger", "0001")
        execute(
            scratch,
            "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE 'it stays'; END $$; "
            "CREATE EVENT TRIGGER keep ON sql_drop EXECUTE FUNCTION refuse()",
        )
        with pytest.raises(Exception, match="it stays"):
            call_command("migrate", "ledger", "zero", database=scratch, verbosity=0, lock_retries=0)

        assert status_of(scratch, "ledger", "0001_initial").state is MigrationState.APPLIED
        assert read_runs(scratch)[0].outcome == "failed"

    def test_a_faked_one(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch, "ledger", "0001", fake=True)

        found = status_of(scratch, "ledger", "0001_initial")
        assert (found.state, found.duration_ms) == (MigrationState.FAKED, None)
        assert ("ledger", "0001_initial") in read_status(scratch).validation().applied_migrations

    def test_one_that_plain_django_has_applied(self, scratch: str, install: Install) -> None:
        install("ledger")
        call_command(djangos.Command(), database=scratch, verbosity=0)

        found = status_of(scratch, "ledger", "0001_initial")
        assert (found.state, found.external) == (MigrationState.APPLIED, True)
        assert (found.duration_ms, found.applied_by) == (None, None)

    def test_one_that_is_out_of_order(self, scratch: str, install: Install) -> None:
        install("orchard")
        migrate(scratch, "orchard", "0002_planted")

        found = {m.name: m.state for m in read_status(scratch).migrations if m.app == "orchard"}
        assert found == {
            "0001_initial": MigrationState.APPLIED,
            "0002_height": MigrationState.OUT_OF_ORDER,
            "0002_planted": MigrationState.APPLIED,
            "0003_merge": MigrationState.PENDING,
        }
        validation = read_status(scratch).validation(["orchard"])
        assert [f.kind for f in validation.findings] == [FindingKind.OUT_OF_ORDER]
        assert ("orchard", "0002_height") in validation.pending_migrations

    def test_squashed_ones_that_ran_one_by_one(self, scratch: str, install: Install) -> None:
        install("quarry")
        migrate(scratch, "quarry")
        execute(
            scratch,
            "UPDATE schema_migration_runs SET name = '0002_weight' WHERE name LIKE '%squashed%'",
        )

        found = status_of(scratch, "quarry", "0001_squashed_0002_weight")
        assert (found.state, found.external) == (MigrationState.APPLIED, False)
        assert found.duration_ms is not None


class TestEdited:
    @pytest.fixture
    def edited(self, scratch: str, install: Install) -> str:
        """A database whose record says that ``ledger.0001_initial`` was another text."""
        install("ledger")
        migrate(scratch, "ledger")
        execute(
            scratch,
            "UPDATE schema_migration_runs SET checksum = split_part(checksum, ':', 1) || ':0' "
            "WHERE name = '0001_initial'",
        )
        return scratch

    def test_is_told_and_stays_valid(self, edited: str) -> None:
        validation = read_status(edited).validation(["ledger"])

        assert status_of(edited, "ledger", "0001_initial").state is MigrationState.EDITED
        assert validation.is_valid
        assert validation.summary().endswith("3/3 migrations applied, 1 edited")

    def test_another_python_made_that_fingerprint(self, edited: str) -> None:
        execute(edited, "UPDATE schema_migration_runs SET checksum = 'ast1-2.7:0'")

        assert status_of(edited, "ledger", "0001_initial").state is MigrationState.APPLIED

    def test_an_installed_package_only_informs(self, edited: str) -> None:
        migrate(edited, "contenttypes")
        execute(
            edited,
            "UPDATE schema_migration_runs SET checksum = split_part(checksum, ':', 1) || ':0' "
            "WHERE app = 'contenttypes'",
        )

        found = status_of(edited, "contenttypes", "0001_initial")
        assert (found.state, found.third_party) == (MigrationState.EDITED, True)
        assert read_status(edited).validation(["contenttypes"]).findings == ()

    def accept(self, alias: str, *words: str, reason: str | None = "Only a help text") -> None:
        call_command(
            "schema_status",
            database=alias,
            accept=list(words),
            reason=reason,
            stdout=io.StringIO(),
        )

    def test_can_be_accepted_with_a_reason(self, edited: str) -> None:
        self.accept(edited, "ledger", "0001_initial")

        assert status_of(edited, "ledger", "0001_initial").state is MigrationState.APPLIED
        newest = read_runs(edited)[0]
        assert (newest.outcome, newest.reason) == ("accepted", "Only a help text")

    @pytest.mark.parametrize(
        ("words", "reason", "text"),
        [
            (("ledger", "0001_initial"), None, "go together"),
            (("ledger", "0001_initial"), "  ", "go together"),
            (("ledger", "0002_post"), "x", "is applied, and only an edited one"),
            (("ledger", "0001_inital"), "x", "Did you mean 0001_initial"),
            (("legder", "0001_initial"), "x", "Did you mean ledger"),
        ],
    )
    def test_nothing_else_can(
        self, edited: str, words: tuple[str, str], reason: str | None, text: str
    ) -> None:
        with pytest.raises(CommandError, match=text) as caught:
            self.accept(edited, *words, reason=reason)

        assert caught.value.returncode == 2


class TestTiming:
    NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("milliseconds", "text"),
        [
            (None, "-"),
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1.0 s"),
            (59_949, "59.9 s"),
            (60_000, "0:01:00"),
            (3_661_000, "1:01:01"),
        ],
    )
    def test_a_duration(self, milliseconds: int | None, text: str) -> None:
        assert duration(milliseconds) == text

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("90m", NOW - timedelta(minutes=90)),
            ("7d", NOW - timedelta(days=7)),
            ("2026-03-30", datetime(2026, 3, 30, tzinfo=UTC)),
            ("2026-03-30T01:00+02:00", datetime(2026, 3, 29, 23, tzinfo=UTC)),
        ],
    )
    def test_an_instant(self, text: str, expected: datetime) -> None:
        assert instant(text, self.NOW) == expected

    @pytest.mark.parametrize("text", ["", "yesterday", "5y", "2026-13-01", "99999999999w"])
    def test_no_instant(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no time"):
            instant(text, self.NOW)
