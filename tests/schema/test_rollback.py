"""The way back itself: all or nothing, on record, and nothing lost that nobody allowed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections
from django.db.migrations import RunPython, RunSQL
from django.db.models.signals import post_migrate, pre_migrate
from django.db.transaction import atomic

from hodei.schema import MigrationFailed, MigrationService, signals
from hodei.schema.backup import BackupFailed, _programs
from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.catalog.model import Catalog
from hodei.schema.history import INTERRUPTED, ROLLED_BACK, TABLE, read_runs
from hodei.schema.results import Direction
from hodei.schema.rollback.guards import DataAtStake, Irreversible, NotAsShown
from hodei.schema.rollback.hold import BackupPathTaken
from hodei.schema.rollback.preview import read_preview
from hodei.schema.rollback.service import go_back
from hodei.schema.rollback.targets import After, Last
from hodei.schema.rollback.witness import LostUnseen
from hodei.schema.run.failures import MigrationBlocked
from hodei.schema.run.progress import Progress
from hodei.schema.stakes import TablesBusy
from tests.databases import new_database
from tests.processes import ROOT, eventually
from tests.schema.vineyard import QUOTED, Applied, migrate, run, session_on

MIGRATIONS = "tests.schema.apps.vineyard.migrations"


@pytest.fixture
def vineyard(applied: Applied) -> str:
    return applied("vineyard", "cellar")


@pytest.fixture
def other(vineyard: str) -> Iterator[psycopg.Connection[Any]]:
    with session_on(vineyard) as session:
        yield session


def rows(alias: str, sql: str) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def catalog(alias: str) -> Catalog:
    with atomic(alias):
        return read_catalog(connections[alias], "public").without(TABLE)


def applied_of(alias: str, app: str) -> list[tuple[Any, ...]]:
    return rows(alias, f"SELECT name FROM django_migrations WHERE app = '{app}' ORDER BY id")


def outcomes(alias: str) -> list[tuple[str, str]]:
    """(migration, outcome) of what was undone, in that order."""
    found = [one for one in read_runs(alias) if one.direction is Direction.BACKWARD]
    return [(one.name, one.outcome) for one in reversed(found)]


def start(alias: str, *words: str, **env: str) -> subprocess.Popen[str]:
    """The command, in a process of its own."""
    settings = connections[alias].settings_dict
    names = ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD")
    apps = [name for name in installed() if name.startswith("tests.schema.apps.")]
    return subprocess.Popen(
        [sys.executable, "-m", "django", *words],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
            "PYTHONPATH": str(ROOT),
            "SCHEMA_TEST_DATABASES": json.dumps({"default": {n: settings[n] for n in names}}),
            "SCHEMA_TEST_APPS": " ".join(apps),
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def installed() -> list[str]:
    from django.conf import settings

    return list(settings.INSTALLED_APPS)


class TestAllOrNothing:
    def test_the_steps_are_undone_and_recorded(self, vineyard: str) -> None:
        before = catalog(vineyard)

        results = MigrationService(vineyard).rollback_to("vineyard", "0002")

        order = [
            *("0006_pour", "0005_plant", "0004_wide"),
            *("0002_shelf", "0001_initial", "0003_columns"),
        ]
        assert [one.name for one in results] == order
        assert outcomes(vineyard) == [(name, "ok") for name in order]
        assert {one.command for one in read_runs(vineyard, limit=6)} == {
            "rollback_to vineyard 0002"
        }
        for one in read_runs(vineyard, limit=6):
            assert (one.reason, one.duration_ms is None, one.error) == (None, False, None)
        assert len({one.batch for one in read_runs(vineyard, limit=6)}) == 1
        found = rows(vineyard, "SELECT name FROM django_migrations WHERE app = 'vineyard'")
        assert found == [("0001_initial",), ("0002_press",)]
        migrate(vineyard)
        assert catalog(vineyard) == before

    def test_a_step_that_fails_in_the_middle_leaves_everything(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VINEYARD_PRESS", "SELECT 1 / 0")
        before = catalog(vineyard), rows(vineyard, "SELECT * FROM django_migrations ORDER BY id")

        with pytest.raises(MigrationFailed, match="division by zero") as caught:
            MigrationService(vineyard).rollback_to("vineyard", "0001")

        assert caught.value.exit_code == 5
        assert "Undone in this run before it, and kept: 0." in str(caught.value)
        assert [one.name for one in caught.value.results] == ["0002_press"]
        after = catalog(vineyard), rows(vineyard, "SELECT * FROM django_migrations ORDER BY id")
        assert after == before
        told = {one.name: one.error for one in read_runs(vineyard, failed_only=True)}
        assert told.pop("0002_press") != ROLLED_BACK
        assert set(told.values()) == {ROLLED_BACK}
        assert len(told) == 6

    def test_an_irreversible_one_in_the_middle_touches_nothing(self, applied: Applied) -> None:
        alias = applied("oneway")
        before = catalog(alias)

        with pytest.raises(Irreversible):
            MigrationService(alias).rollback_to("oneway", "zero", allow_data_loss=True)

        assert catalog(alias) == before
        assert outcomes(alias) == []

    def test_a_step_that_is_not_atomic_makes_them_go_one_by_one(
        self, applied: Applied, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alias = applied("harbour")
        first = import_module("tests.schema.apps.harbour.migrations.0001_initial")
        monkeypatch.setattr(
            first.Migration,
            "operations",
            [*first.Migration.operations, RunSQL("SELECT 1", "SELECT 1 / 0")],
        )

        with pytest.raises(MigrationFailed, match="kept: 2") as caught:
            MigrationService(alias).rollback_to("harbour", "zero")

        assert [one.success for one in caught.value.results] == [True, True, False]
        assert rows(alias, "SELECT name FROM django_migrations WHERE app = 'harbour'") == [
            ("0001_initial",)
        ]
        assert outcomes(alias) == [
            ("0003_depth", "ok"),
            ("0002_index", "ok"),
            ("0001_initial", "failed"),
        ]

    def test_what_one_step_leaves_to_check_is_checked_before_the_next(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A deferred key with something to check refuses the DDL of a later step."""
        run(vineyard, "INSERT INTO vineyard_plant (id, name) VALUES (7, 'x')")
        monkeypatch.setenv("VINEYARD_POUR", "INSERT INTO cellar_cask (vine_id) VALUES (7)")

        MigrationService(vineyard).rollback_to("vineyard", "zero", allow_data_loss=True)

        assert rows(vineyard, "SELECT to_regclass('cellar_cask')") == [(None,)]

    def test_a_key_that_breaks_is_the_failure_of_its_step(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VINEYARD_POUR", "INSERT INTO cellar_cask (vine_id) VALUES (7)")

        with pytest.raises(MigrationFailed, match=r"0006_pour .*SQLSTATE 23503"):
            MigrationService(vineyard).rollback_to("vineyard", "0004")

    def test_the_state_of_a_step_is_what_is_left_when_it_is_undone(
        self, applied: Applied, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Django's own order would give it a column that is gone already."""
        alias = applied("vineyard", "cellar")
        seen = []

        def look(apps: Any, schema_editor: Any) -> None:
            seen.append([field.name for field in apps.get_model("vineyard", "Vine")._meta.fields])

        shelf = import_module("tests.schema.apps.cellar.migrations.0002_shelf")
        monkeypatch.setattr(
            shelf.Migration,
            "operations",
            [*shelf.Migration.operations, RunPython(RunPython.noop, look)],
        )

        go_back(alias, After("vineyard", "0002"), command="test")

        # 0005_plant calls it title, and was undone before.
        assert seen == [["id", "name", "label", "age"]]


class TestSignals:
    def test_those_of_django_are_sent_around_it(self, vineyard: str) -> None:
        heard = []

        def hear(signal: Any, plan: Any, using: str, apps: Any, **_: Any) -> None:
            names = [(migration.name, backwards) for migration, backwards in plan]
            has_table = "cellar_shelf" in connections[using].introspection.table_names()
            models = {model._meta.model_name for model in apps.get_models()}
            heard.append((signal, names, using, has_table, "shelf" in models))

        # Django sends them for apps with models; those of the others are in their migrations only.
        for signal_ in (pre_migrate, post_migrate):
            signal_.connect(hear, sender=_config("contenttypes"))
        MigrationService(vineyard).rollback_to("cellar", "0001")

        plan = [("0002_shelf", True)]
        assert heard == [
            (pre_migrate, plan, vineyard, True, True),
            (post_migrate, plan, vineyard, False, False),
        ]

    def test_of_several_in_one_transaction_they_come_after_the_commit(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard: list[tuple[str, bool]] = []

        def finished(result: Any, using: str, **_: Any) -> None:
            with session_on(using) as session:
                gone = session.execute("SELECT to_regclass('cellar_shelf') IS NULL").fetchone() == (
                    True,
                )
            heard.append((result.name, gone))

        signals.migration_finished.connect(finished)
        MigrationService(vineyard).rollback_to("cellar", "zero")
        assert heard == [("0002_shelf", True), ("0001_initial", True)]

        heard.clear()
        monkeypatch.setenv("VINEYARD_PRESS", "SELECT 1 / 0")
        with pytest.raises(MigrationFailed):
            MigrationService(vineyard).rollback_to("vineyard", "0001")
        assert heard == []


def _config(label: str) -> Any:
    from django.apps import apps

    return apps.get_app_config(label)


class TestGuards:
    def test_with_rows_at_stake_it_refuses(self, vineyard: str) -> None:
        run(vineyard, "INSERT INTO cellar_shelf DEFAULT VALUES")
        before = catalog(vineyard)

        with pytest.raises(DataAtStake, match="table cellar_shelf: 1 row"):
            MigrationService(vineyard).rollback_to("cellar", "zero")

        assert catalog(vineyard) == before
        assert outcomes(vineyard) == []
        MigrationService(vineyard).rollback_to("cellar", "zero", allow_data_loss=True)

    @pytest.mark.parametrize("setting", [True, False])
    def test_the_setting_is_for_migrate_alone(
        self, applied: Applied, settings: Any, setting: bool
    ) -> None:
        settings.HODEI_ALLOW_DATA_LOSS = setting
        alias = applied("pantry")
        run(alias, "INSERT INTO pantry_jar (content) VALUES ('jam'), ('peas')")
        service = MigrationService(alias)

        with pytest.raises(DataAtStake, match="contents that only jam makers know"):
            service.rollback_to("pantry", "0001")
        assert len(rows(alias, "SELECT * FROM pantry_jar")) == 2
        service.rollback_to("pantry", "0001", allow_data_loss=True)

        assert rows(alias, "SELECT content FROM pantry_jar") == [("jam",)]
        assert rows(alias, "SELECT row_data->>'content' FROM pantry_jar_head_rows") == [("peas",)]

    def test_what_is_written_between_the_look_and_the_lock(
        self, vineyard: str, other: psycopg.Connection[Any]
    ) -> None:
        """Whatever somebody agreed to, it was not this row."""
        wish = After("cellar", "zero")
        other.execute("INSERT INTO cellar_shelf DEFAULT VALUES")
        shown = read_preview(vineyard, wish)
        other.execute("INSERT INTO cellar_shelf DEFAULT VALUES")

        with pytest.raises(NotAsShown, match="table cellar_shelf: 2 rows, 1 more") as caught:
            go_back(vineyard, wish, allow_data_loss=True, shown=shown, command="test")

        assert caught.value.exit_code == 1
        assert rows(vineyard, "SELECT count(*) FROM cellar_shelf") == [(2,)]

    def test_a_table_that_was_empty_when_it_was_looked_at(
        self, vineyard: str, other: psycopg.Connection[Any]
    ) -> None:
        wish = After("cellar", "zero")
        shown = read_preview(vineyard, wish)
        other.execute("INSERT INTO cellar_shelf DEFAULT VALUES")

        with pytest.raises(DataAtStake, match="table cellar_shelf: 1 row"):
            go_back(vineyard, wish, shown=shown, command="test")

        assert rows(vineyard, "SELECT count(*) FROM cellar_shelf") == [(1,)]

    def test_also_where_the_steps_go_one_by_one(self, applied: Applied) -> None:
        """The row comes after the second look, between two steps."""
        alias = applied("harbour")

        def write(result: Any, **_: Any) -> None:
            if result.name == "0002_index":
                run(alias, "INSERT INTO harbour_dock DEFAULT VALUES")

        signals.migration_finished.connect(write)
        with pytest.raises(DataAtStake, match="table harbour_dock: 1 row"):
            MigrationService(alias).rollback_to("harbour", "zero")

        assert rows(alias, "SELECT count(*) FROM harbour_dock") == [(1,)]

    def test_the_steps_are_not_those_that_were_shown(self, vineyard: str) -> None:
        shown = read_preview(vineyard, Last())
        migrate(vineyard, "vineyard", "0005")

        with pytest.raises(NotAsShown, match=r"now it would undo vineyard\.0005_plant"):
            go_back(vineyard, Last(), shown=shown, command="test")

    def test_names_that_change_on_the_way_where_the_steps_go_one_by_one(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pour = import_module(f"{MIGRATIONS}.0006_pour")
        monkeypatch.setattr(pour.Migration, "atomic", False)
        run(vineyard, "INSERT INTO vineyard_plant (name, title) VALUES ('x', 'y')")

        MigrationService(vineyard).rollback_to("vineyard", "0001", allow_data_loss=True)

        assert rows(vineyard, "SELECT name FROM vineyard_vine") == [("x",)]


IN_A_SAVEPOINT = """
SAVEPOINT a; DELETE FROM cellar_cask; TRUNCATE cellar_cask;
INSERT INTO cellar_cask VALUES (1), (2), (3); RELEASE a; INSERT INTO cellar_cask VALUES (4)
"""
REWRITTEN_AND_WRITTEN = """
INSERT INTO cellar_cask VALUES (3); SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE cellar_cask ADD noise float DEFAULT random(); INSERT INTO cellar_cask VALUES (4)
"""


class TestWitness:
    """What Python code does on the way back is seen before it is committed."""

    @pytest.mark.parametrize(
        ("sql", "told"),
        [
            ("DELETE FROM cellar_cask", "2 rows of cellar_cask"),
            ("DROP TABLE cellar_shelf", "table cellar_shelf"),
            (
                "ALTER TABLE vineyard_plant DROP COLUMN age",
                "column vineyard_plant.age",
            ),
            ("DO $$ BEGIN DROP TABLE cellar_shelf; END $$", "table cellar_shelf"),
            ("TRUNCATE cellar_cask", "all rows of cellar_cask"),
            ("DO $$ BEGIN TRUNCATE cellar_cask; END $$", "all rows of cellar_cask"),
            (IN_A_SAVEPOINT, "all rows of cellar_cask"),
            (
                "ALTER TABLE cellar_cask ADD noise float DEFAULT random(); TRUNCATE cellar_cask",
                "all rows of cellar_cask",
            ),
        ],
    )
    def test_a_loss_that_nobody_could_see_before(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch, sql: str, told: str
    ) -> None:
        run(vineyard, "INSERT INTO cellar_cask SELECT generate_series(1, 2)")
        monkeypatch.setenv("VINEYARD_POUR", sql)
        before = catalog(vineyard)

        with pytest.raises(LostUnseen, match=f"could not be seen before: {told}\\."):
            MigrationService(vineyard).rollback_to("vineyard", "0005")

        assert catalog(vineyard) == before
        assert rows(vineyard, "SELECT count(*) FROM cellar_cask") == [(2,)]
        assert outcomes(vineyard) == [("0006_pour", "failed")]
        MigrationService(vineyard).rollback_to("vineyard", "0005", allow_data_loss=True)

    def test_what_it_moves_or_renames_is_not_lost(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(
            "VINEYARD_POUR",
            "ALTER TABLE cellar_shelf RENAME TO cellar_board; "
            "ALTER TABLE cellar_cask RENAME COLUMN vine_id TO plant_id; "
            "CREATE TABLE passing (id int); INSERT INTO passing VALUES (1); DROP TABLE passing",
        )

        MigrationService(vineyard).rollback_to("vineyard", "0005")

        assert outcomes(vineyard) == [("0006_pour", "ok")]

    @pytest.mark.parametrize(
        "sql",
        [
            "TRUNCATE cellar_shelf",
            "SAVEPOINT a; TRUNCATE cellar_cask; ROLLBACK TO a",
            "ALTER TABLE cellar_cask ADD noise float DEFAULT random()",
            REWRITTEN_AND_WRITTEN,
            "ALTER TABLE cellar_shelf ADD noise float DEFAULT random()",
        ],
        ids=[
            "of nothing",
            "taken back",
            "rewritten",
            "rewritten and written",
            "empty and rewritten",
        ],
    )
    def test_a_table_with_another_file_has_not_always_lost_its_rows(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch, sql: str
    ) -> None:
        run(vineyard, "INSERT INTO cellar_cask SELECT generate_series(1, 2)")
        run(vineyard, "INSERT INTO cellar_shelf DEFAULT VALUES; DELETE FROM cellar_shelf")
        monkeypatch.setenv("VINEYARD_POUR", sql)

        MigrationService(vineyard).rollback_to("vineyard", "0005")

        assert outcomes(vineyard) == [("0006_pour", "ok")]
        assert rows(vineyard, "SELECT count(*) > 1 FROM cellar_cask") == [(True,)]

    def test_a_table_that_somebody_holds_is_not_waited_for(
        self,
        vineyard: str,
        other: psycopg.Connection[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run(vineyard, "INSERT INTO cellar_cask SELECT generate_series(1, 2)")
        monkeypatch.setenv("VINEYARD_POUR", "TRUNCATE cellar_cask")
        other.execute("BEGIN; LOCK TABLE cellar_shelf")

        with pytest.raises(LostUnseen, match=r"all rows of cellar_cask\."):
            MigrationService(vineyard).rollback_to("vineyard", "0005")

    def test_partitions_go_with_what_they_are_parts_of(
        self, applied: Applied, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alias = applied("vineyard")
        press = import_module(f"{MIGRATIONS}.0002_press")
        run(
            alias,
            "CREATE TABLE parts (id int, note text) PARTITION BY LIST (id); "
            "CREATE TABLE parts_1 (note text, id int); "
            "ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES IN (1)",
        )
        monkeypatch.setattr(
            press.Migration,
            "operations",
            [RunSQL("SELECT 1", "ALTER TABLE parts DROP COLUMN note")],
        )
        MigrationService(alias).rollback_to("vineyard", "0001")
        migrate(alias, "vineyard", "0002")
        monkeypatch.setattr(press.Migration, "operations", [RunSQL("SELECT 1", "DROP TABLE parts")])

        MigrationService(alias).rollback_to("vineyard", "0001")

        assert rows(alias, "SELECT to_regclass('parts_1')") == [(None,)]


class TestLocks:
    def test_one_who_is_in_the_way_is_named(
        self, vineyard: str, other: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        other.execute("BEGIN; INSERT INTO cellar_shelf DEFAULT VALUES")
        before = catalog(vineyard)

        with pytest.raises(TablesBusy) as caught:
            go_back(vineyard, After("cellar", "zero"), command="test", retries=1)

        assert caught.value.exit_code == 4
        assert f"pid {other.info.backend_pid} (somebody" in str(caught.value)
        assert catalog(vineyard) == before

    def test_one_who_only_reads_is_met_at_the_drop(
        self, vineyard: str, other: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        other.execute("BEGIN; SELECT FROM cellar_shelf")

        with pytest.raises(MigrationBlocked) as caught:
            go_back(vineyard, After("cellar", "zero"), command="test", retries=0)

        assert caught.value.exit_code == 4
        assert "SELECT FROM cellar_shelf" in str(caught.value)

    def test_it_is_tried_again_as_a_whole(
        self, vineyard: str, other: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        other.execute("BEGIN; SELECT FROM cellar_cask")

        def let_go(**_: Any) -> None:
            other.execute("ROLLBACK")

        signals.migration_failed.connect(let_go)
        results = go_back(vineyard, After("cellar", "zero"), command="test").results

        assert [(one.name, one.success) for one in results] == [
            ("0002_shelf", True),
            ("0001_initial", True),
        ]
        assert outcomes(vineyard) == [
            ("0002_shelf", "failed"),
            ("0001_initial", "failed"),
            ("0002_shelf", "ok"),
            ("0001_initial", "ok"),
        ]

    @pytest.mark.process
    def test_a_migrate_that_is_going_on_is_waited_for(self, applied: Applied) -> None:
        """Then the steps are those that it has left."""
        alias = applied("ledger")
        migrate(alias, "ledger", "0001")
        process = start(alias, "migrate", "-v0", LEDGER_SECONDS="1")
        with session_on(alias) as session:
            assert eventually(
                lambda: bool(
                    session.execute(
                        "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                    ).fetchall()
                )
            )

        results = MigrationService(alias).rollback_to("ledger", "0002")

        process.communicate(timeout=60)
        assert process.returncode == 0
        assert [one.name for one in results] == ["0003_amount"]


class TestKilled:
    @pytest.mark.process
    def test_in_the_middle_of_the_transaction_everything_is_as_it_was(self, vineyard: str) -> None:
        before = catalog(vineyard), rows(vineyard, "SELECT * FROM django_migrations ORDER BY id")
        process = start(
            vineyard,
            *("schema_rollback", "vineyard", "0001", "--no-input"),
            VINEYARD_PRESS="SELECT pg_sleep(60)",
        )
        with session_on(vineyard) as session:
            asleep = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            assert eventually(lambda: bool(session.execute(asleep).fetchall()))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            assert eventually(lambda: not session.execute(asleep).fetchall())

        after = catalog(vineyard), rows(vineyard, "SELECT * FROM django_migrations ORDER BY id")
        assert after == before
        assert [one[1] for one in outcomes(vineyard)] == ["interrupted"] * 7
        assert {one.error for one in read_runs(vineyard, failed_only=True)} == {INTERRUPTED}
        MigrationService(vineyard).rollback_to("vineyard", "0001")
        assert outcomes(vineyard)[-1] == ("0002_press", "ok")


class TestBackup:
    @pytest.fixture
    def vineyard(self, applied: Applied, point_alias: Callable[..., str]) -> str:
        """On the engine of the project's settings: the embedded one has programs of its own."""
        alias = applied("vineyard", "cellar")
        own = connections["default"].settings_dict
        found = dict(connections[alias].settings_dict)
        found.update({n: own[n] for n in {"ENGINE", "EMBEDDED_DIRECTORY"} & set(own)})
        point_alias(found)
        run(alias, f"INSERT INTO {QUOTED} VALUES (1), (2)")
        run(alias, "INSERT INTO vineyard_plant (name, title, age) VALUES ('x', 'y', 80)")
        run(alias, "INSERT INTO cellar_shelf DEFAULT VALUES")
        return alias

    def restore(self, alias: str, path: Path) -> None:
        """The documented command, into the database of the alias."""
        connection: Any = connections[alias]
        connection.ensure_connection()
        info = connection.connection.info
        url = f"postgresql://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"
        done = subprocess.run(
            [_programs(connection)[1], "--dbname", url, str(path)],
            env={**os.environ, "PGPASSWORD": info.password},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def test_tables_that_went_come_back(self, vineyard: str, tmp_path: Path) -> None:
        path = tmp_path / "backup"
        before = catalog(vineyard)

        done = go_back(
            vineyard,
            After("vineyard", "zero"),
            allow_data_loss=True,
            backup=path,
            command="test",
        )
        assert rows(vineyard, "SELECT to_regclass('vineyard_vine')") == [(None,)]
        self.restore(vineyard, path)

        assert done.backup is not None
        assert len(done.backup.tables) == 4
        assert path.stat().st_mode & 0o777 == 0o600
        assert rows(vineyard, f"SELECT * FROM {QUOTED}") == [(1,), (2,)]
        assert rows(vineyard, "SELECT name, title, age FROM vineyard_plant") == [("x", "y", 80)]
        assert catalog(vineyard) == before

    def test_a_table_that_lost_a_column_comes_back_in_an_empty_database(
        self, vineyard: str, tmp_path: Path, point_alias: Callable[..., str]
    ) -> None:
        path = tmp_path / "backup"
        MigrationService(vineyard).rollback_to(
            "vineyard", "0002", allow_data_loss=True, backup=path
        )
        assert rows(vineyard, "SELECT * FROM vineyard_vine") == [(1, "x")]

        with new_database() as database:
            found = {**connections[vineyard].settings_dict, "NAME": database["NAME"]}
            self.restore(point_alias(found), path)

            assert rows(vineyard, "SELECT name, title, age FROM vineyard_plant") == [("x", "y", 80)]

    def test_it_is_made_before_the_first_step_of_those_that_go_one_by_one(
        self, vineyard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pour = import_module(f"{MIGRATIONS}.0006_pour")
        monkeypatch.setattr(pour.Migration, "atomic", False)
        monkeypatch.setenv("VINEYARD_POUR", "SELECT 1 / 0")
        path = tmp_path / "backup"

        with pytest.raises(MigrationFailed):
            MigrationService(vineyard).rollback_to(
                "vineyard", "0001", allow_data_loss=True, backup=path
            )

        assert path.stat().st_size > 0

    def test_of_an_attempt_that_did_not_get_its_locks_it_is_made_again(
        self, vineyard: str, tmp_path: Path, settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        path = tmp_path / "backup"
        with session_on(vineyard) as session:
            session.execute("BEGIN; SELECT FROM cellar_shelf")

            class InBetween(Progress):
                def say(self, text: str) -> None:
                    session.execute("ROLLBACK; INSERT INTO cellar_shelf DEFAULT VALUES")

            go_back(
                vineyard,
                After("cellar", "zero"),
                allow_data_loss=True,
                backup=path,
                progress=InBetween(),
                command="test",
            )

        self.restore(vineyard, path)
        assert rows(vineyard, "SELECT count(*) FROM cellar_shelf") == [(2,)]

    def test_it_may_take_longer_than_a_transaction_may_idle(
        self, vineyard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dump, restore = _programs(connections[vineyard])
        slow = tmp_path / "pg_dump"
        slow.write_text(f'#!/bin/sh\n[ "$1" = --version ] || sleep 1\nexec "{dump}" "$@"\n')
        slow.chmod(0o755)
        (tmp_path / "pg_restore").symlink_to(restore)
        monkeypatch.setattr("hodei.schema.backup._folders", lambda _: iter([str(tmp_path)]))
        run(
            vineyard,
            f"ALTER DATABASE {connections[vineyard].settings_dict['NAME']} "
            "SET idle_in_transaction_session_timeout = '700ms'",
        )
        connections[vineyard].close()

        MigrationService(vineyard).rollback_to(
            "cellar", "zero", allow_data_loss=True, backup=tmp_path / "backup"
        )

        assert applied_of(vineyard, "cellar") == []

    def test_if_it_fails_nothing_is_touched(
        self, vineyard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "pg_dump"
        program.write_text("#!/bin/sh\ncase $1 in --version) echo 99;; *) exit 1;; esac\n")
        program.chmod(0o755)
        (tmp_path / "pg_restore").symlink_to(program)
        monkeypatch.setattr("hodei.schema.backup._folders", lambda _: iter([str(tmp_path)]))
        before = catalog(vineyard)

        with pytest.raises(BackupFailed):
            MigrationService(vineyard).rollback_to(
                "cellar", "zero", allow_data_loss=True, backup=tmp_path / "backup"
            )

        assert catalog(vineyard) == before
        assert not (tmp_path / "backup").exists()
        assert outcomes(vineyard) == []

    def test_where_it_cannot_be_written_nothing_begins(self, vineyard: str, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "no folder" / "backup"):
            with pytest.raises(BackupPathTaken) as caught:
                MigrationService(vineyard).rollback(backup=path)
            assert caught.value.exit_code == 2

    def test_where_nothing_goes_there_is_none(self, vineyard: str, tmp_path: Path) -> None:
        done = go_back(vineyard, Last(), backup=tmp_path / "backup", command="test")

        assert done.backup is None
        assert not (tmp_path / "backup").exists()
