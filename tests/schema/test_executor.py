from __future__ import annotations

import py_compile
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.commands import migrate as migrate_module
from django.db import DataError, connections
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

from hodei.schema.checksums import fingerprint
from hodei.schema.results import Direction, MigrationResult
from hodei.schema.run.executor import RecordingExecutor, exchanged
from hodei.schema.run.failures import describe
from hodei.schema.run.start import migration_run
from hodei.schema.sources import checksum_of, source_of

Install = Callable[..., None]


def migrate(alias: str, *target: str, **options: object) -> list[MigrationResult]:
    with migration_run(alias, command="test") as run:
        call_command(migrate_module.Command(), *target, database=alias, verbosity=0, **options)
    return run.results


def executor_of_migrate() -> Any:
    return vars(migrate_module)["MigrationExecutor"]


def ran(results: list[MigrationResult], app: str) -> list[tuple[str, Direction, bool]]:
    return [(r.name, r.direction, r.success) for r in results if r.app == app]


class TestRecording:
    def test_tells_what_was_applied_in_that_order(self, scratch: str, install: Install) -> None:
        install("ledger", "orchard")
        before = datetime.now(UTC)

        results = migrate(scratch)

        assert ran(results, "ledger") == [
            ("0001_initial", Direction.FORWARD, True),
            ("0002_post", Direction.FORWARD, True),
            ("0003_amount", Direction.FORWARD, True),
        ]
        assert len(ran(results, "orchard")) == 4
        instants = [result.started_at for result in results]
        assert before <= instants[0]
        assert instants == sorted(instants)
        assert all(result.error is None for result in results)
        with connections[scratch].cursor() as cursor:
            cursor.execute("SELECT current_user")
            (role,) = cursor.fetchone()
        assert {result.applied_by for result in results} == {role}

    def test_tells_what_was_unapplied(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch)

        results = migrate(scratch, "ledger", "zero")

        assert ran(results, "ledger") == [
            ("0003_amount", Direction.BACKWARD, True),
            ("0002_post", Direction.BACKWARD, True),
            ("0001_initial", Direction.BACKWARD, True),
        ]
        assert "ledger_entry" not in connections[scratch].introspection.table_names()

    def test_tells_of_the_failure_and_lets_it_pass(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("ledger")
        monkeypatch.setenv("LEDGER_AMOUNT", "nonsense")

        with pytest.raises(DataError), migration_run(scratch, command="test") as run:
            call_command(migrate_module.Command(), database=scratch, verbosity=0)

        results = run.results

        assert ran(results, "ledger") == [
            ("0001_initial", Direction.FORWARD, True),
            ("0002_post", Direction.FORWARD, False),
        ]
        assert results[-1].error is not None
        assert 'invalid input syntax for type integer: "nonsense"' in results[-1].error
        assert results[-1].error.endswith("(SQLSTATE 22P02)")
        assert "\n" not in results[-1].error

    def test_measures_how_long_it_took(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("ledger")
        monkeypatch.setenv("LEDGER_SECONDS", "0.2")

        (result,) = [r for r in migrate(scratch) if r.name == "0002_post"]

        assert result.duration_ms >= 200

    def test_the_checksum_is_that_of_the_file(self, scratch: str, install: Install) -> None:
        install("ledger")

        (result,) = [r for r in migrate(scratch) if r.name == "0002_post"]

        import tests.schema.apps.ledger.migrations as package

        path = Path(package.__path__[0]) / "0002_post.py"
        assert result.checksum == fingerprint(path.read_text(encoding="utf-8"))

    def test_a_squashed_migration_is_one_result(self, scratch: str, install: Install) -> None:
        install("quarry")

        assert [name for name, *_ in ran(migrate(scratch), "quarry")] == [
            "0001_squashed_0002_weight",
            "0003_colour",
        ]

    def test_nothing_to_do_is_no_result(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch)

        assert migrate(scratch) == []

    def test_django_gets_its_executor_back(self) -> None:
        def fail() -> None:
            assert executor_of_migrate() is not MigrationExecutor
            raise RuntimeError("inside")

        with pytest.raises(RuntimeError, match="inside"), exchanged(MigrationExecutor):
            fail()

        assert executor_of_migrate() is MigrationExecutor

    def test_a_run_inside_a_run_has_its_own_results(self, scratch: str, install: Install) -> None:
        install("ledger")

        with migration_run(scratch, command="outer") as outer:
            inner = migrate(scratch, "ledger", "0001")
            call_command(migrate_module.Command(), "ledger", "0002", database=scratch, verbosity=0)

        assert [r.name for r in inner if r.app == "ledger"] == ["0001_initial"]
        assert [r.name for r in outer.results] == ["0002_post"]

    def test_another_thread_keeps_djangos_executor(self, scratch: str) -> None:
        built: list[object] = []

        def build() -> None:
            built.append(executor_of_migrate()(None))

        with migration_run(scratch, command="test"):
            thread = threading.Thread(target=build)
            thread.start()
            thread.join()
            built.append(executor_of_migrate()(connections[scratch]))

        assert type(built[0]) is MigrationExecutor
        assert type(built[1]) is RecordingExecutor

    def test_two_threads_do_not_record_into_each_other(self) -> None:
        inside = threading.Event()
        entered = threading.Event()

        def second() -> None:
            inside.set()
            with exchanged(MigrationExecutor):
                entered.set()

        with exchanged(MigrationExecutor):
            thread = threading.Thread(target=second)
            thread.start()
            assert inside.wait(30)
            assert not entered.is_set()
        thread.join(30)

        assert entered.is_set()


class TestSources:
    @pytest.fixture
    def load(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[Path], Migration]]:
        """A function that imports a file by its name and returns its migration."""
        monkeypatch.syspath_prepend(str(tmp_path))
        loaded = []

        def load_it(path: Path) -> Migration:
            loaded.append(path.stem)
            migration: Migration = import_module(path.stem).Migration("0001", "shop")
            return migration

        yield load_it
        for name in loaded:
            sys.modules.pop(name, None)

    TEXT = "from django.db.migrations import Migration as Base\nclass Migration(Base):\n    pass\n"

    def test_a_class_without_a_file_has_no_checksum(self) -> None:
        made = type("Migration", (Migration,), {"__module__": "made_up"})("0001", "shop")

        assert source_of(made) is None
        assert checksum_of(made) is None

    def test_a_file_has_one(self, tmp_path: Path, load: Callable[[Path], Migration]) -> None:
        path = tmp_path / "plain_migration.py"
        path.write_text(self.TEXT, encoding="utf-8")

        assert checksum_of(load(path)) == fingerprint(self.TEXT)

    def test_a_compiled_file_alone_has_none(
        self, tmp_path: Path, load: Callable[[Path], Migration]
    ) -> None:
        path = tmp_path / "compiled_migration.py"
        path.write_text(self.TEXT, encoding="utf-8")
        py_compile.compile(str(path), cfile=str(path.with_suffix(".pyc")), doraise=True)
        path.unlink()

        assert checksum_of(load(path)) is None

    @pytest.mark.parametrize("edit", [lambda path: path.unlink(), lambda p: p.write_text("if")])
    def test_a_file_that_went_while_it_ran_has_none(
        self,
        tmp_path: Path,
        load: Callable[[Path], Migration],
        edit: Callable[[Path], object],
    ) -> None:
        path = tmp_path / "vanishing_migration.py"
        path.write_text(self.TEXT, encoding="utf-8")
        migration = load(path)
        edit(path)

        assert checksum_of(migration) is None


class TestDescribe:
    def test_an_error_without_words_is_its_name(self) -> None:
        assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"

    def test_words_come_on_one_line(self) -> None:
        assert describe(ValueError("one\n  two")) == "ValueError: one two"
