from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DataError, connections, transaction

from hodei.schema import MigrationService
from hodei.schema.replay.scratch import ReplayFailed
from hodei.schema.results import FindingKind, Severity
from hodei.schema.validation import Comparison
from tests.processes import eventually
from tests.schema.conftest import APPS

Install = Callable[..., None]


CROWD = """
DO $$ BEGIN FOR i IN 1..310 LOOP
    EXECUTE 'CREATE TABLE crowd_' || i || ' (id int)';
END LOOP; END $$
"""


def validate(alias: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("schema_validate", database=alias, stdout=out, **options)
    return out.getvalue()


def execute(alias: str, statement: str) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def traces(alias: str) -> list[tuple[Any, ...]]:
    """What a database holds: its schemas, and its relations with their numbers."""
    return execute(
        alias,
        "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast)' "
        "UNION ALL SELECT oid::text || relname FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
    )


@pytest.fixture
def ledger(applied: Callable[..., str]) -> str:
    return applied("ledger", "errand")


@pytest.fixture
def errand(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that says what SQL the migration of ``errand`` runs from now on."""
    return lambda sql: monkeypatch.setenv("ERRAND_SQL", sql)


class TestHealthy:
    def test_gives_no_finding(self, ledger: str) -> None:
        out = validate(ledger, strict=True)

        assert out.splitlines()[-2:] == [
            "Compared: 3 tables and views",
            "Schema valid: {0}/{0} migrations applied".format(
                len(MigrationService(ledger).validate().applied_migrations)
            ),
        ]

    def test_partly_applied_is_compared_with_what_is_applied(self, ledger: str) -> None:
        call_command("migrate", "ledger", "0001", database=ledger, verbosity=0)

        validation = MigrationService(ledger).validate()

        assert not validation.is_valid
        assert validation.findings == ()
        assert len(validation.pending_migrations) == 2

    def test_what_is_not_applied_is_named(
        self, ledger: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call_command("migrate", "ledger", "0001", database=ledger, verbosity=0)
        monkeypatch.setenv("LEDGER_AMOUNT", "nonsense")
        with pytest.raises(DataError):
            call_command("migrate", "ledger", database=ledger, verbosity=0)
        out, document = io.StringIO(), io.StringIO()

        for where, form in ((out, "table"), (document, "json")):
            with pytest.raises(SystemExit):
                call_command("schema_validate", database=ledger, stdout=where, format=form)

        assert "Pending: ledger.0003_amount\nFailed: ledger.0002_post\n" in out.getvalue()
        found = json.loads(document.getvalue())
        assert found["pending"] == ["ledger.0003_amount"]
        assert found["failed"] == ["ledger.0002_post"]

    def test_what_was_only_recorded_is_a_note(self, ledger: str) -> None:
        call_command("migrate", "ledger", "0001", database=ledger, verbosity=0)
        call_command("migrate", "ledger", "0002", fake=True, database=ledger, verbosity=0)
        call_command("migrate", "ledger", database=ledger, verbosity=0)

        validation = MigrationService(ledger).validate()

        assert validation.is_valid
        assert validation.findings == ()
        assert validation.notes[1].startswith("Only recorded, and never run here: ledger.0002_post")

    def test_in_a_transaction_of_the_caller(self, ledger: str) -> None:
        with transaction.atomic(using=ledger):
            execute(ledger, "INSERT INTO ledger_entry DEFAULT VALUES")
            assert MigrationService(ledger).validate().is_valid
            assert len(execute(ledger, "SELECT 1 FROM ledger_entry")) == 2


class TestFindings:
    def test_drift_is_an_error_with_a_repair(self, ledger: str) -> None:
        execute(ledger, "ALTER TABLE ledger_entry DROP COLUMN amount")

        with pytest.raises(SystemExit) as caught:
            validate(ledger)
        (finding,) = MigrationService(ledger).validate().findings
        execute(ledger, *finding.repair)

        assert caught.value.code == 1
        assert finding.kind is FindingKind.MISSING_COLUMN
        assert MigrationService(ledger).validate().is_valid

    def test_extra_objects_fail_only_a_strict_one(self, ledger: str) -> None:
        execute(ledger, "CREATE TABLE stray (id int)")

        out = validate(ledger)

        assert "unexpected table" in out
        assert out.splitlines()[-1].endswith("applied, 1 unexpected")
        with pytest.raises(SystemExit):
            validate(ledger, strict=True)

    def test_ignored_ones_are_counted(self, ledger: str, settings: Any) -> None:
        execute(ledger, "CREATE TABLE stray (id int); CREATE TABLE other (id int)")
        execute(ledger, "CREATE INDEX odd ON ledger_entry (amount)")
        settings.HODEI_SCHEMA_IGNORE = ["stra*"]

        out = validate(ledger, strict=True, ignore=["ledger_entry.odd", "other"])

        assert "Ignored by pattern: 3" in out

    def test_a_setting_that_is_no_list_is_told(self, ledger: str, settings: Any) -> None:
        settings.HODEI_SCHEMA_IGNORE = "stray"

        with pytest.raises(CommandError, match="HODEI_SCHEMA_IGNORE is 'stray'") as caught:
            validate(ledger)

        assert caught.value.returncode == 2

    def test_models_ahead_of_their_migrations_are_found(
        self, scratch: str, install: Install
    ) -> None:
        install("wishful")
        call_command("migrate", database=scratch, verbosity=0)

        (finding,) = MigrationService(scratch).validate().findings

        assert (finding.kind, finding.subject) == (FindingKind.UNMIGRATED, "wishful")
        assert finding.severity is Severity.ERROR
        assert "Add field forgotten to wish" in finding.message

    def test_those_of_an_installed_package_are_information(
        self, ledger: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.contrib.contenttypes.models import ContentType

        monkeypatch.setattr(ContentType._meta.get_field("model"), "max_length", 99)

        validation = MigrationService(ledger).validate()

        assert validation.is_valid
        assert [one.severity for one in validation.findings] == [Severity.INFO]

    def test_the_table_fits_a_hundred_columns(self, ledger: str) -> None:
        execute(ledger, f"CREATE TABLE {'long_' * 12} (id int)")
        execute(ledger, "ALTER TABLE ledger_entry DROP CONSTRAINT ledger_entry_pkey")

        out = io.StringIO()

        with pytest.raises(SystemExit):
            call_command("schema_validate", database=ledger, stdout=out)

        assert max(map(len, out.getvalue().splitlines())) <= 100

    def test_every_key_of_the_json_is_documented(self, ledger: str) -> None:
        execute(ledger, "CREATE TABLE stray (id int)")
        page = Path(__file__).parents[2] / "docs" / "reference" / "schema_validate.md"
        text = page.read_text(encoding="utf-8")

        found = json.loads(validate(ledger, format="json"))

        keys = {*found, *found["counts"], *found["findings"][0]}
        assert {key for key in keys if f"`{key}`" not in text} == set()
        assert {kind.value for kind in FindingKind if f"`{kind.value}`" not in text} == set()


class TestCannotVerify:
    def test_nothing_to_compare(self, scratch: str, install: Install, capsys: Any) -> None:
        install("bare")

        with pytest.raises(SystemExit) as caught:
            validate(scratch)

        assert caught.value.code == 3
        assert "Nothing was compared" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("sql", "words"),
        [
            ("ALTER TABLE public.errand_thing ADD COLUMN extra int", "locked public.errand_thing"),
            ("DROP TABLE public.errand_thing", "locked a table that it dropped"),
            ("CREATE TABLE public.errand_other (id int)", "locked public.errand_other"),
            ("UPDATE public.ledger_entry SET amount = 1", "locked public.ledger_entry"),
            ("SELECT 1; COMMIT; SELECT 2", "controls the transaction itself"),
            ("SELECT setval('public.ledger_entry_id_seq', 99)", "moves a sequence"),
            ("CREATE TABLE odd (a type_of_an_extension)", "operator class of an extension may be"),
            ("SELECT function_of_an_extension()", "A type, function or operator class"),
            ("SET search_path TO public; DROP TABLE errand_thing", "a table that it dropped"),
            (
                CROWD,
                "make 31. tables or more",
            ),
        ],
    )
    def test_what_cannot_be_replayed_names_the_other_way(
        self, ledger: str, errand: Callable[[str], None], sql: str, words: str
    ) -> None:
        before = traces(ledger)
        errand(sql)

        with pytest.raises(ReplayFailed, match=words) as caught:
            MigrationService(ledger).validate()

        assert "--rebuild" in str(caught.value)
        assert caught.value.exit_code == 3
        assert traces(ledger) == before
        assert execute(ledger, "SELECT last_value FROM ledger_entry_id_seq") == [(1,)]

    def test_what_an_event_trigger_writes(self, ledger: str) -> None:
        execute(
            ledger,
            "CREATE TABLE ddl_log (tag text); "
            "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
            "INSERT INTO public.ddl_log VALUES (tg_tag); END $$; "
            "CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note()",
        )
        execute(ledger, "DELETE FROM ddl_log")

        with pytest.raises(ReplayFailed, match=r"CreateModel of .* locked public\.ddl_log"):
            MigrationService(ledger).validate()

        assert execute(ledger, "SELECT tag FROM ddl_log") == []

    def test_a_table_that_somebody_alters(self, ledger: str) -> None:
        import psycopg

        execute(ledger, "ALTER TABLE ledger_entry ALTER amount SET DEFAULT 1")
        info = connections[ledger].connection.info
        with psycopg.connect(info.dsn, password=info.password) as other:
            other.execute("ALTER TABLE ledger_entry ADD COLUMN slow int DEFAULT 1")

            with pytest.raises(CommandError, match="locked for more than 2s") as caught:
                validate(ledger)

            other.rollback()
        assert caught.value.returncode == 3

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"postgresql": 9}, "was written by PostgreSQL 9"),
            ({"migrations": ["ledger.0001_initial"]}, "is of other migrations"),
            ({"format_version": 99}, "its format_version is not 1"),
            ({"relations": [{"nonsense": 1}]}, "is no snapshot that can be read"),
        ],
    )
    def test_a_snapshot_of_something_else(
        self, ledger: str, tmp_path: Path, change: dict[str, Any], words: str
    ) -> None:
        path = tmp_path / "schema.json"
        call_command("schema_snapshot", database=ledger, output=path, stderr=io.StringIO())
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

        with pytest.raises(CommandError, match=words) as caught:
            validate(ledger, expected=path)

        assert caught.value.returncode == 3

    def test_a_snapshot_that_is_not_there(self, ledger: str, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="No such file"):
            validate(ledger, expected=tmp_path / "none.json")

    def test_a_role_that_may_not_make_a_schema_uses_a_snapshot(
        self, ledger: str, point_alias: Any, tmp_path: Path
    ) -> None:
        path = tmp_path / "schema.json"
        call_command("schema_snapshot", database=ledger, output=path, stderr=io.StringIO())
        database = dict(connections[ledger].settings_dict)
        role = f"{database['NAME']}_reader"
        execute(
            ledger,
            f"CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        )
        try:
            reader = point_alias(database, OPTIONS={"assume_role": role})

            with pytest.raises(ReplayFailed, match="it needs CREATE on the database"):
                MigrationService(reader).validate()
            assert MigrationService(reader).validate(comparison=Comparison(expected=path)).is_valid
        finally:
            point_alias(database)
            execute(ledger, f"DROP OWNED BY {role}; DROP ROLE {role}")


class TestLeavesNothing:
    def test_runs_no_python(self, ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEDGER_AMOUNT", "nonsense")

        validation = MigrationService(ledger).validate()

        assert validation.is_valid
        assert "ledger.0002_post" in validation.notes[0]
        assert len(execute(ledger, "SELECT 1 FROM ledger_entry")) == 1

    def test_no_object_no_row_and_no_lock(self, ledger: str) -> None:
        before = traces(ledger)

        validate(ledger)

        assert traces(ledger) == before
        others = (
            "SELECT 1 FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert eventually(lambda: execute(ledger, others) == [])

    @pytest.mark.process
    def test_when_it_is_killed_in_the_middle(
        self, database: dict[str, Any], scratch: str, install: Install
    ) -> None:
        install("errand")
        call_command("migrate", database=scratch, verbosity=0)
        before = traces(scratch)
        asleep = (
            "SELECT 1 FROM pg_stat_activity "
            "WHERE query ~ '^SELECT pg_sleep' AND datname = current_database()"
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "schema_validate"],
            cwd=Path(__file__).parents[2],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
                "SCHEMA_TEST_DATABASES": json.dumps({"default": database}),
                "SCHEMA_TEST_APPS": "tests.schema.apps.errand",
                "ERRAND_SQL": "SELECT pg_sleep(9)",
            },
        )
        try:
            assert eventually(lambda: execute(scratch, asleep) == [(1,)])
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
            process.wait()

        assert eventually(lambda: execute(scratch, asleep) == [])
        assert traces(scratch) == before


@pytest.mark.process
class TestRebuild:
    """The temporary database is filled by a process of its own."""

    @pytest.fixture
    def errands(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[str], str]:
        """A function that applies ``errand``, with this SQL, and ``ledger``, here and in a project
        of the same apps that the process finds."""
        apps = ("errand", "ledger")
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.schema.settings_alone")
        monkeypatch.setenv("SCHEMA_TEST_APPS", " ".join(f"{APPS}.{name}" for name in apps))

        def applied(sql: str) -> str:
            monkeypatch.setenv("ERRAND_SQL", sql)
            install(*apps)
            call_command("migrate", database=scratch, verbosity=0)
            return scratch

        return applied

    def test_builds_what_a_replay_builds(
        self, django_db_setup: dict[str, Any], point_alias: Callable[..., str]
    ) -> None:
        alias = point_alias(django_db_setup)
        replayed, rebuilt = io.StringIO(), io.StringIO()

        call_command("schema_snapshot", database=alias, stdout=replayed)
        call_command("schema_snapshot", rebuild=True, database=alias, stdout=rebuilt)

        assert len(json.loads(replayed.getvalue())["relations"]) > 20
        assert json.loads(rebuilt.getvalue()) == json.loads(replayed.getvalue())

    def test_runs_what_reaches_out_and_drops_its_database(
        self, errands: Callable[[str], str]
    ) -> None:
        alias = errands(
            "ALTER TABLE public.errand_thing ADD COLUMN extra int; "
            "COMMENT ON TABLE public.errand_thing IS 'x'"
        )

        with pytest.raises(CommandError, match="--rebuild") as caught:
            validate(alias)
        validate(alias, strict=True, rebuild=True)
        execute(alias, "ALTER TABLE errand_thing DROP COLUMN extra")
        found = MigrationService(alias).validate(comparison=Comparison(rebuild=True))

        assert caught.value.returncode == 3
        assert not found.is_valid
        assert [one.subject for one in found.findings] == ["errand_thing.extra"]
        assert execute(alias, "SELECT 1 FROM ledger_entry") == [(1,)]
        assert rebuilds(alias) == []

    def test_drops_its_database_when_the_migrations_fail_there(
        self, errands: Callable[[str], str], errand: Callable[[str], None]
    ) -> None:
        alias = errands("SELECT 1")
        errand("SELECT nothing")

        with pytest.raises(CommandError, match='column "nothing" does not exist') as caught:
            validate(alias, rebuild=True)

        assert caught.value.returncode == 3
        assert rebuilds(alias) == []

    def test_sweeps_what_a_killed_one_left(self, errands: Callable[[str], str]) -> None:
        alias = errands("SELECT 1")
        name = "hodei_rebuild_1000000000_deadbeef"
        execute(alias, f"CREATE DATABASE {name} TEMPLATE template0")

        validate(alias, rebuild=True)

        assert rebuilds(alias, name) == []


def rebuilds(alias: str, name: str = "") -> list[tuple[Any, ...]]:
    """The temporary databases that are rebuilds of this one, or have this name."""
    return execute(
        alias,
        "SELECT datname FROM pg_database WHERE datname ~ '^hodei_rebuild_' AND (datname = "
        f"'{name}' OR strpos(shobj_description(oid, 'pg_database'), current_database()) > 0)",
    )
