"""The command: what it shows, asks and refuses, and how it ends."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, load_command_class
from django.core.management.base import CommandError
from django.db import connections

from hodei.schema.history import read_runs
from tests.schema.conftest import Run
from tests.schema.vineyard import HOSTILE, QUOTED, VINES, Applied, Install, run

CELLAR = """\
Database scratch: would undo 2 migrations, in this order, all in one transaction:
  cellar.0002_shelf
  cellar.0001_initial

WOULD GO  WHICH         HOW MUCH
table     cellar_shelf  0 rows
table     cellar_cask   0 rows
"""
VINEYARD = f"""\
Database scratch: would undo 7 migrations, in this order, all in one transaction:
  vineyard.0006_pour
  vineyard.0005_plant
  vineyard.0004_wide
  cellar.0002_shelf (depends on cellar.0001_initial)
  cellar.0001_initial (depends on vineyard.0003_columns)
  vineyard.0003_columns
  vineyard.0002_press

WOULD GO  WHICH                                           HOW MUCH
values    vineyard_plant.name (text to varchar(10))       1 value
table     cellar_shelf                                    0 rows
table     cellar_cask                                     0 rows
column    vineyard_plant.label_length                     1 value (all computed or the default)
column    vineyard_plant.age                              3 values (2 computed or the default)
column    vineyard_plant.title                            1 value
table     {HOSTILE}  1,204 rows
Not known before: vineyard.0006_pour: Python code (pour_back) runs here, and what it reads, writes
  and locks is not known before.
Not known before: vineyard.0002_press: Python code (press_back) runs here, and what it reads, writes
  and locks is not known before.
Before that, a backup of these tables into a file:
  FILE
  vineyard_plant, cellar_shelf, cellar_cask, {HOSTILE}
"""
UNDONE = """\
  Unapplying cellar.0002_shelf... OK
  Unapplying cellar.0001_initial... OK
Undone: 2 migrations.
"""


@pytest.fixture
def vineyard(applied: Applied) -> str:
    return applied("vineyard", "cellar")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that sits somebody at the terminal who answers so."""

    def sit(word: str) -> None:
        terminal = io.StringIO(f"{word}\n")
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stdin", terminal)

    return sit


def roll_back(alias: str, *words: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(
        "schema_rollback", *words, database=alias, stdout=out, stderr=io.StringIO(), **options
    )
    return out.getvalue()


def refused(alias: str, *words: str, **options: Any) -> tuple[int, str, str]:
    """The exit code, the error and what was printed before it."""
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(
            "schema_rollback", *words, database=alias, stdout=out, stderr=io.StringIO(), **options
        )
    return caught.value.returncode, str(caught.value), out.getvalue()


def applied_names(alias: str, app: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT name FROM django_migrations WHERE app = %s ORDER BY id", [app])
        return [name for (name,) in cursor.fetchall()]


class TestShows:
    def test_what_goes_and_then_does_it(self, vineyard: str) -> None:
        assert roll_back(vineyard, "cellar", "zero", no_input=True) == f"{CELLAR}{UNDONE}"
        assert applied_names(vineyard, "cellar") == []
        assert read_runs(vineyard, limit=1)[0].command == "schema_rollback cellar zero"

    def test_a_dry_run_does_none_of_it(self, vineyard: str) -> None:
        assert roll_back(vineyard, "cellar", "zero", dry_run=True) == CELLAR
        assert applied_names(vineyard, "cellar") == ["0001_initial", "0002_shelf"]
        assert read_runs(vineyard, limit=1)[0].direction == "forward"

    def test_a_dry_run_ends_as_the_real_one_would(self, vineyard: str) -> None:
        run(vineyard, "INSERT INTO cellar_shelf DEFAULT VALUES")

        code, error, out = refused(vineyard, "cellar", "zero", dry_run=True)

        assert code == 1
        assert "table cellar_shelf: 1 row." in error
        assert out == CELLAR.replace("cellar_shelf  0 rows", "cellar_shelf  1 row")

    def test_everything_there_is_to_tell(self, vineyard: str, tmp_path: Path) -> None:
        run(vineyard, VINES)
        run(vineyard, f"INSERT INTO {QUOTED} SELECT generate_series(1, 1204)")

        out = roll_back(
            vineyard,
            *("vineyard", "0001"),
            allow_data_loss=True,
            dry_run=True,
            backup=tmp_path / "file",
        )

        assert out == VINEYARD.replace("FILE", str(tmp_path / "file"))
        assert max(map(len, out.splitlines())) <= 100
        assert not (tmp_path / "file").exists()

    def test_steps_that_go_one_by_one(self, applied: Applied) -> None:
        alias = applied("harbour")

        out = roll_back(alias, "harbour", "0001", dry_run=True)

        assert "would undo 2 migrations, in this order:\n" in out
        assert "One by one, as migrate would, since harbour.0002_index cannot run" in out

    def test_nothing_to_undo(self, vineyard: str) -> None:
        assert roll_back(vineyard, "cellar", "0002") == "Database scratch: nothing to undo.\n"

    def test_nothing_goes(self, vineyard: str, tmp_path: Path) -> None:
        out = roll_back(vineyard, no_input=True, backup=tmp_path / "file")

        assert "No table, column or row would go.\n" in out
        assert "No backup: no table loses anything.\n" in out
        assert out.endswith("Undone: 1 migration.\n")

    def test_the_backup_and_how_to_restore_it(
        self, applied: Applied, point_alias: Callable[..., str], tmp_path: Path
    ) -> None:
        alias = applied("vineyard", "cellar")
        own = connections["default"].settings_dict
        found = dict(connections[alias].settings_dict)
        found.update({n: own[n] for n in {"ENGINE", "EMBEDDED_DIRECTORY"} & set(own)})
        point_alias(found)
        path = tmp_path / "a file"

        out = roll_back(alias, "cellar", "0001", no_input=True, backup=path)

        assert "Backup of 1 table, which this restores:\n" in out
        assert f"  pg_restore --dbname postgresql://USER@HOST/NAME '{path}'\n" in out
        assert path.stat().st_size > 0

    def test_the_database_that_it_acts_on(self, vineyard: str, database: dict[str, Any]) -> None:
        """The other alias is not looked at."""
        before = applied_names(vineyard, "vineyard")

        out = roll_back(vineyard, "--steps", "2", dry_run=True)

        assert out.startswith("Database scratch: would undo 2 migrations")
        assert applied_names(vineyard, "vineyard") == before


class TestAsks:
    def test_yes(self, vineyard: str, answer: Callable[[str], None]) -> None:
        answer("y")

        assert roll_back(vineyard, "cellar", "zero").endswith(UNDONE)

    def test_anything_else(self, vineyard: str, answer: Callable[[str], None]) -> None:
        for word in ("n", "", "yess"):
            answer(word)

            assert refused(vineyard, "cellar", "zero")[:2] == (1, "Nothing was changed.")

        assert applied_names(vineyard, "cellar") == ["0001_initial", "0002_shelf"]

    def test_nobody_is_there(self, vineyard: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO())

        code, error, _ = refused(vineyard, "cellar", "zero")

        assert code == 2
        assert error.endswith("Use --no-input in scripts.")

    def test_it_refuses_before_it_asks(self, vineyard: str, answer: Callable[[str], None]) -> None:
        run(vineyard, "INSERT INTO cellar_shelf DEFAULT VALUES")
        answer("y")

        assert refused(vineyard, "cellar", "zero")[0] == 1


class TestMisuse:
    CASES = (
        (["vineyard"], "Name the migration of vineyard to go back to, or zero"),
        (["vineyard", "zero", "--steps", "1"], "give one of them"),
        (["--to-release", "v1", "--steps", "1"], "give one of them"),
        (["--steps", "none"], "'none' is no number of steps; give 1 or more."),
        (["vineyrd", "zero"], "Did you mean vineyard?"),
        (["--to-release", "v1"], "no run in the history has a label"),
    )

    def test_is_told(self, scratch: str, install: Install) -> None:
        install("vineyard")

        for words, told in self.CASES:
            code, error, out = refused(scratch, *words)
            # What the parser refuses ends a process with 2, and has no code of its own here.
            assert code == (1 if "none" in words else 2)
            assert told in error
            assert out == ""

    def test_a_backup_that_is_there(self, scratch: str, install: Install, tmp_path: Path) -> None:
        install("vineyard")

        code, error, _ = refused(scratch, backup=tmp_path)

        assert code == 2
        assert "is there already" in error

    def test_another_engine(self, point_alias: Callable[..., str]) -> None:
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})

        assert refused(alias)[0] == 2


@pytest.mark.process
class TestProcess:
    def test_all_the_way(
        self, manage: Run, database: dict[str, Any], point_alias: Callable[..., str]
    ) -> None:
        """The words on record, two databases, exit codes, one line for an error."""
        apps = ("vineyard",)
        aliases = {"default": {**database, "NAME": "hodei_no_such"}, "other": database}

        def go(*words: str, **env: str) -> Any:
            return manage(*words, "--database", "other", apps=apps, aliases=aliases, **env)

        assert go("migrate", "-v0").returncode == 0
        done = go("schema_rollback", "vineyard", "0005", "--no-input")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Database other: would undo 1 migration, in this order")
        assert done.stdout.endswith("  Unapplying vineyard.0006_pour... OK\nUndone: 1 migration.\n")

        failed = go(
            *("schema_rollback", "vineyard", "0001", "--no-input"), VINEYARD_PRESS="SELECT 1 / 0"
        )
        assert failed.returncode == 5
        (error,) = failed.stderr.splitlines()
        assert error.startswith("CommandError: Migration vineyard.0002_press failed after ")
        assert failed.stdout.endswith("  Unapplying vineyard.0002_press...\n")
        (run, *_) = read_runs(point_alias(database), limit=1)
        assert run.command == "schema_rollback vineyard 0001 --no-input --database other"


def test_help_for_a_newcomer() -> None:
    parser = load_command_class("hodei.schema", "schema_rollback").create_parser("", "")
    text = " ".join(parser.format_help().split())

    for words in (
        "Undo the migration that was applied last",
        "nothing is touched until you agree",
        "zero undoes all of APP",
        "Undo the last N migrations of all apps",
        "--to-release LABEL",
        "Show what would be done, and do none of it.",
        "The guards refuse all the same.",
        "Write the tables that lose something into this new file first",
        "Exit codes: 0 done or nothing to do, 1 refused",
    ):
        assert words in text
