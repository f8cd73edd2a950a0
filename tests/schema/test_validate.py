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
from urllib.parse import quote

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DataError, connections, transaction

from hodei.schema import MigrationService
from hodei.schema.replay.scratch import ReplayFailed
from hodei.schema.results import FindingKind, Severity
from hodei.schema.validation import Comparison
from tests.processes import eventually
from tests.processes import manage as manage_project

Install = Callable[..., None]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
CONTRIB = (
    "django.contrib.sessions "
    "django.contrib.sites django.contrib.flatpages django.contrib.redirects "
    "tests.schema.apps.foundry tests.schema.apps.orchard tests.schema.apps.quarry"
)


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
def ledger(scratch: str, install: Install) -> str:
    install("ledger", "errand")
    call_command("migrate", database=scratch, verbosity=0)
    return scratch


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

    @pytest.mark.process
    def test_with_contrib_apps_and_awkward_migrations_by_every_way(
        self, manage: Run, tmp_path: Path
    ) -> None:
        apps = {"SCHEMA_TEST_APPS": CONTRIB}
        snapshot = tmp_path / "schema.json"
        for words in (
            ("migrate", "--verbosity", "0"),
            ("schema_validate", "--strict", "--privileges"),
            ("schema_validate", "--strict", "--privileges", "--rebuild"),
            ("schema_snapshot", "--output", str(snapshot)),
            ("schema_validate", "--strict", "--expected", str(snapshot)),
        ):
            done = manage(*words, **apps)
            assert (done.returncode, done.stderr.replace(f"Written: {snapshot}\n", "")) == (
                0,
                "",
            ), (
                words,
                done.stdout,
            )

        live = manage("schema_snapshot", "--live", **apps)
        rebuilt = manage("schema_snapshot", "--rebuild", **apps)
        written = json.loads(snapshot.read_text())
        assert json.loads(rebuilt.stdout)["relations"] == written["relations"]
        assert json.loads(live.stdout)["relations"] == written["relations"]

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

    def test_a_table_that_somebody_alters(
        self, ledger: str, database: dict[str, Any], point_alias: Any
    ) -> None:
        import psycopg

        execute(ledger, "ALTER TABLE ledger_entry ALTER amount SET DEFAULT 1")
        with psycopg.connect(
            host=database["HOST"],
            port=database["PORT"],
            user=database["USER"],
            dbname=database["NAME"],
        ) as other:
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
        self, ledger: str, database: dict[str, Any], point_alias: Any, tmp_path: Path
    ) -> None:
        path = tmp_path / "schema.json"
        call_command("schema_snapshot", database=ledger, output=path, stderr=io.StringIO())
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
        self, manage: Run, database: dict[str, Any], scratch: str
    ) -> None:
        assert manage("migrate", "--verbosity", "0", apps=("errand",)).returncode == 0
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
    def test_builds_what_a_replay_builds(self, database: dict[str, Any]) -> None:
        url = "postgresql://{USER}:{PASSWORD}@/{NAME}?host={HOST}&port={PORT}".format_map(
            {name: quote(str(value), safe="") for name, value in database.items()}
        )
        assert manage_project("migrate", "--verbosity", "0", DATABASE_URL=url).returncode == 0

        replayed = manage_project("schema_snapshot", DATABASE_URL=url)
        rebuilt = manage_project("schema_snapshot", "--rebuild", DATABASE_URL=url)

        assert (replayed.returncode, replayed.stderr) == (0, "")
        assert len(json.loads(replayed.stdout)["relations"]) > 20
        assert json.loads(rebuilt.stdout) == json.loads(replayed.stdout)

    def test_runs_what_reaches_out_and_drops_its_database(
        self, manage: Run, scratch: str, database: dict[str, Any]
    ) -> None:
        env = {
            "ERRAND_SQL": "ALTER TABLE public.errand_thing ADD COLUMN extra int; "
            "COMMENT ON TABLE public.errand_thing IS 'x'"
        }
        assert (
            manage("migrate", "--verbosity", "0", apps=("errand", "ledger"), **env).returncode == 0
        )

        refused = manage("schema_validate", apps=("errand", "ledger"), **env)
        rebuilt = manage(
            "schema_validate", "--strict", "--rebuild", apps=("errand", "ledger"), **env
        )
        execute(scratch, "ALTER TABLE errand_thing DROP COLUMN extra")
        drifted = manage("schema_validate", "--rebuild", apps=("errand", "ledger"), **env)

        assert (refused.returncode, "--rebuild" in refused.stderr) == (3, True)
        assert (rebuilt.returncode, rebuilt.stderr) == (0, "")
        assert drifted.returncode == 1
        assert "errand_thing.extra" in drifted.stdout
        assert execute(scratch, "SELECT 1 FROM ledger_entry") == [(1,)]
        assert rebuilds(scratch) == []

    def test_drops_its_database_when_the_migrations_fail_there(
        self, manage: Run, scratch: str
    ) -> None:
        assert manage("migrate", "--verbosity", "0", apps=("errand",)).returncode == 0

        done = manage("schema_validate", "--rebuild", apps=("errand",), ERRAND_SQL="SELECT nothing")

        assert done.returncode == 3
        assert 'column "nothing" does not exist' in done.stderr
        assert rebuilds(scratch) == []

    def test_sweeps_what_a_killed_one_left(self, manage: Run, scratch: str) -> None:
        name = "hodei_rebuild_1000000000_deadbeef"
        execute(scratch, f"CREATE DATABASE {name} TEMPLATE template0")
        assert manage("migrate", "--verbosity", "0", apps=("errand",)).returncode == 0

        assert manage("schema_validate", "--rebuild", apps=("errand",)).returncode == 0

        assert rebuilds(scratch, name) == []


def rebuilds(alias: str, name: str = "") -> list[tuple[Any, ...]]:
    """The temporary databases that are rebuilds of this one, or have this name."""
    return execute(
        alias,
        "SELECT datname FROM pg_database WHERE datname ~ '^hodei_rebuild_' AND (datname = "
        f"'{name}' OR strpos(shobj_description(oid, 'pg_database'), current_database()) > 0)",
    )
