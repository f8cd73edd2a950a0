"""Several processes and one server: together, and when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hodei.db.embedded import postmaster
from hodei.db.embedded.account import account_of
from hodei.db.embedded.location import locate
from tests.hodei.test_embedded.processes import User, left_running, postmaster_of, run, until

pytestmark = pytest.mark.process

Make = Callable[..., User]


def kill_server(pid: int, directory: Path) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not postmaster.runs(pid, locate(directory).data), "the end of the server")


class TestOneUser:
    def test_starts_the_server_says_so_once_and_stops_it(
        self, user: Make, directory: Path, folder: Path
    ) -> None:
        one = user(cwd=folder)

        assert one.ask("SHOW server_encoding") == "UTF8"
        assert one.ask("SELECT current_database()") == "hodei"
        assert one.ask("SHOW listen_addresses") == ""
        assert one.ask("SHOW fsync") == "on"
        assert one.ask("SELECT upper('ñ')") == "Ñ"
        said = one.end()

        assert said.count("using the embedded PostgreSQL") == 1
        assert "data in pg (set DATABASE_URL" in said
        assert postmaster_of(directory) is None
        assert not locate(directory).sockets.exists()

    def test_the_second_start_finds_the_data(self, user: Make, made: Path) -> None:
        first = user()
        first.ask("SELECT lo_from_bytea(4711, 'kept')")
        first.end()

        second = user()

        assert second.ask("SELECT convert_from(lo_get(4711), 'UTF8')") == "kept"
        second.ask("SELECT lo_unlink(4711)")

    def test_sigterm_that_ends_it_in_order_stops_the_server(self, user: Make, made: Path) -> None:
        one = user()
        one.ask()

        one.process.send_signal(signal.SIGTERM)
        one.end()

        assert postmaster_of(made) is None

    def test_a_killed_one_leaves_a_server_that_the_next_takes_over(
        self, user: Make, made: Path
    ) -> None:
        one = user()
        one.ask()
        before = postmaster_of(made)
        one.kill()
        assert postmaster_of(made) == before is not None

        two = user()
        two.ask()
        assert postmaster_of(made) == before
        two.end()

        assert postmaster_of(made) is None

    def test_a_child_keeps_quiet_about_what_its_parent_said(self, made: Path) -> None:
        code = """
import subprocess, sys
from hodei.db.embedded import ensure
ensure(sys.argv[1])
if len(sys.argv) == 2:
    subprocess.run([sys.executable, "-c", sys.orig_argv[2], sys.argv[1], "child"], check=True)
"""
        done = run("-c", code, made)

        assert done.returncode == 0, done.stderr
        assert done.stderr.count("using the embedded PostgreSQL") == 1

    def test_a_forked_child_that_ends_first_leaves_the_server_to_its_parent(
        self, made: Path
    ) -> None:
        code = """
import os, sys
from hodei.db.embedded import ensure, postmaster
location = ensure(sys.argv[1])
for uses in (False, True):
    if (child := os.fork()) == 0:
        if uses:
            ensure(sys.argv[1])
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print(postmaster.of(location).name if postmaster.alive(location) else "gone", flush=True)
"""
        done = run("-c", code, made)

        first, second = done.stdout.splitlines()
        assert first == second != "gone"
        assert postmaster_of(made) is None


class TestUsers:
    def test_eight_cold_starts_at_once_share_one_server(self, user: Make, directory: Path) -> None:
        users = [user() for _ in range(8)]

        for one in users:
            one.send("SELECT pg_postmaster_start_time()")
        started = {one.answer() for one in users}

        assert len(started) == 1, started
        assert len(left_running(directory)) > 0
        for one in users:
            assert postmaster_of(directory) is not None
            one.end()
        assert postmaster_of(directory) is None

    def test_the_death_of_one_is_nothing_to_the_other(self, user: Make, made: Path) -> None:
        one, two = user(), user()
        one.ask()
        before = two.ask("SELECT pg_postmaster_start_time()")

        one.kill()

        assert two.ask("SELECT pg_postmaster_start_time()") == before
        two.end()
        assert postmaster_of(made) is None

    def test_a_killed_server_is_started_again(self, user: Make, mine: Path) -> None:
        one = user()
        before = one.ask("SELECT pg_postmaster_start_time()")
        killed = postmaster_of(mine)
        assert killed is not None

        kill_server(killed, mine)

        assert one.ask("SELECT pg_postmaster_start_time()") not in {before, ""}

    def test_a_killed_server_that_left_a_busy_child_is_started_again(
        self, user: Make, mine: Path
    ) -> None:
        one, two = user(), user()
        two.ask()
        one.send("DO $$BEGIN WHILE clock_timestamp() < now() + '30 s' LOOP END LOOP; END$$")
        killed = postmaster_of(mine)
        assert killed is not None
        busy = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND xact_start < now()"
        )
        until(lambda: two.ask(busy) == "1", "the query")
        kill_server(killed, mine)

        assert two.ask() == "1"
        assert postmaster_of(mine) not in {killed, None}

    def test_a_removed_folder_begins_anew_and_ends_the_old_server(
        self, user: Make, mine: Path
    ) -> None:
        one = user()
        one.ask("SELECT lo_from_bytea(4711, 'gone')")
        old = postmaster_of(mine)
        assert old is not None
        subprocess.run(["rm", "-rf", str(mine)], check=True)

        assert one.ask("SELECT count(*) FROM pg_largeobject_metadata") == "0"

        assert not postmaster.runs(old, locate(mine).data)
        one.end()
        assert postmaster_of(mine) is None


class TestInterrupted:
    def test_the_first_initdb_killed_at_any_point_leaves_nothing_half_made(
        self, user: Make, directory: Path
    ) -> None:
        for reached in ("PG_VERSION", "base/1/PG_VERSION"):
            one = user()
            one.send()
            until(lambda: [*directory.glob(f"data.new-*/{reached}")], reached)  # noqa: B023
            one.kill()
            assert not (directory / "data").exists()

        assert user().ask() == "1"

        assert not [*directory.glob("data.new-*")]

    @pytest.mark.parametrize("number", ["alive", "dead"])
    def test_a_process_number_used_again_is_not_taken_for_the_server(
        self, user: Make, made: Path, number: str
    ) -> None:
        one = user()
        one.ask()
        location = locate(made)
        socket_lock = location.sockets / ".s.PGSQL.5432.lock"
        stale = [
            (path, path.read_text()) for path in (location.data / "postmaster.pid", socket_lock)
        ]
        mode = location.sockets.stat()
        one.end()
        # Of the server's own user: PostgreSQL itself overlooks the others'.
        other = subprocess.Popen(["sleep", "60"], **account_of(location).identity())
        if number == "dead":
            other.kill()
            other.wait()
        location.sockets.mkdir(mode=0o700)
        os.chown(location.sockets, mode.st_uid, mode.st_gid)
        for path, text in stale:
            path.write_text("\n".join([str(other.pid), *text.splitlines()[1:]]) + "\n")
            os.chown(path, mode.st_uid, mode.st_gid)

        try:
            assert user().ask() == "1"
            assert number == "dead" or other.poll() is None
        finally:
            other.kill()
            other.wait()

    def test_a_server_that_cannot_start_shows_the_end_of_its_log(
        self, user: Make, mine: Path
    ) -> None:
        one = user()
        one.ask()
        one.end()
        with (mine / "data" / "postgresql.conf").open("a") as file:
            file.write("shared_buffers = 'plenty'\n")

        said = user().ask()

        assert "PostgreSQL did not start" in said
        assert "plenty" in said


class TestFolders:
    def test_any_path_will_do(self, user: Make, folder: Path) -> None:
        where = folder / "a b 'c' \"d\" $HOME & ñ `e` \\f" / ("g" * 120) / "pg"

        assert user(where).ask("SELECT current_setting('data_directory')") == str(where / "data")

    def test_a_socket_folder_of_somebody_else_is_refused(
        self, user: Make, made: Path, folder: Path
    ) -> None:
        sockets = locate(made).sockets
        (folder / "trap").mkdir(mode=0o700)
        sockets.symlink_to(folder / "trap")

        try:
            said = user().ask()
        finally:
            sockets.unlink()

        assert f"{sockets}, the folder of the embedded PostgreSQL's socket, is not" in said
        assert not [*(folder / "trap").iterdir()]

    def test_an_open_socket_folder_is_refused(self, user: Make, directory: Path) -> None:
        sockets = locate(directory).sockets
        sockets.mkdir()
        sockets.chmod(0o777)

        assert "is not a folder that only user" in user().ask()

    def test_variables_of_libpq_change_neither_server_nor_address(
        self, user: Make, made: Path
    ) -> None:
        foreign = {"PGDATA": "/nowhere", "PGPORT": "1", "PGUSER": "nix", "PGDATABASE": "nix"}
        foreign |= {"PGHOST": "192.0.2.1", "PGOPTIONS": "--nix=1", "PGHOSTADDR": "192.0.2.1"}
        code = """
import os, sys
from hodei.db.embedded import ensure
print(ensure(sys.argv[1]).url())
"""
        done = run("-c", code, made, env=foreign)

        assert done.stdout.strip() == locate(made).url()


class TestUsersOfTheSystem:
    def test_a_normal_user_and_root_share_the_normal_user_s_server(
        self, user: Make, folder: Path, as_nobody: list[str]
    ) -> None:
        home = folder / "home"
        home.mkdir(mode=0o700)
        os.chown(home, 65534, 65534)
        where = home / "pg"

        theirs = user(where, before=as_nobody)
        started = theirs.ask("SELECT pg_postmaster_start_time()")
        assert (where / "data").stat().st_uid == 65534
        roots = user(where)

        assert roots.ask("SELECT pg_postmaster_start_time()") == started
        theirs.end()
        assert roots.ask("SELECT pg_postmaster_start_time()") == started
        roots.end()
        assert user(where, before=as_nobody).ask() == "1"

    def test_a_normal_user_is_told_that_the_folder_is_root_s(
        self, user: Make, made: Path, as_nobody: list[str]
    ) -> None:
        one = user()
        one.ask()
        one.end()

        said = user(before=as_nobody).ask()

        assert f"{made}/users.lock belongs to another user" in said
        assert "set HODEI_EMBEDDED_DIR" in said
