from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.schema import MigrationFailed, MigrationService, signals
from hodei.schema.backup import BackupFailed, _programs
from hodei.schema.rollback.guards import DataAtStake, NotAsShown
from hodei.schema.rollback.hold import BackupPathTaken
from hodei.schema.rollback.preview import read_preview
from hodei.schema.rollback.service import go_back
from hodei.schema.rollback.targets import After, Last
from hodei.schema.run.progress import Progress
from tests.databases import new_database
from tests.schema.test_rollback.kit import MIGRATIONS, catalog, outcomes, rows
from tests.schema.vineyard import QUOTED, Applied, migrate, run, session_on


def applied_of(alias: str, app: str) -> list[tuple[Any, ...]]:
    return rows(alias, f"SELECT name FROM django_migrations WHERE app = '{app}' ORDER BY id")


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
