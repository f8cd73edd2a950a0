"""A PostgreSQL of a test's own, which it stops, kills and starts again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.db.embedded import binaries, postmaster
from hodei.db.embedded.account import account_of
from hodei.db.embedded.environment import for_server
from hodei.db.embedded.location import PORT, SUPERUSER, locate
from hodei.db.embedded.server import Server
from tests.folders import open_folder
from tests.processes import eventually


@dataclass(frozen=True, slots=True)
class Private:
    """One server, in a folder that goes with it."""

    server: Server

    def database(self, name: str = "hodei") -> dict[str, Any]:
        """A database of it, in Django's terms."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "HOST": str(self.server.location.sockets),
            "PORT": str(PORT),
            "USER": SUPERUSER,
            "PASSWORD": "",
        }

    def connect(self, name: str = "hodei") -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.url(name), autocommit=True)

    def fill(self, database: dict[str, Any], name: str = "hodei") -> None:
        """Copy what another server's database holds into one that is empty."""
        url = psycopg.conninfo.make_conninfo(
            host=database["HOST"],
            port=database["PORT"],
            user=database["USER"],
            password=database["PASSWORD"],
            dbname=database["NAME"],
        )
        program = self.server.binaries.program
        words = [program("pg_dump"), "--no-owner", f"--dbname={url}"]
        dump = subprocess.run(words, capture_output=True, check=True).stdout
        words = [program("psql"), "-qXv", "ON_ERROR_STOP=1", f"--dbname={self.server.url(name)}"]
        subprocess.run(words, input=dump, stdout=subprocess.DEVNULL, check=True)

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        """In order, ending its connections."""
        assert self.server.stop()

    def kill(self) -> None:
        """At once, with recovery at its next start."""
        found = postmaster.of(self.server.location)
        assert found is not None
        os.kill(found.pid, signal.SIGQUIT)
        assert eventually(lambda: not self.server.is_running())


def programs() -> binaries.Binaries:
    """Those of the version that the tests run on; skips the test where there are none."""
    with connections["default"]._nodb_cursor() as cursor:
        version = cursor.db.connection.info.server_version // 10_000
    found = binaries.of_major(version)
    if found is None:
        pytest.skip(f"no programs of PostgreSQL {version}")
    return found


@contextmanager
def private_server() -> Iterator[Private]:
    """A new one, running; what it was told is written to no disk in time."""
    with open_folder() as folder:
        server = Server(locate(folder / "pg"), programs())
        try:
            server.start()
            found = Private(server)
            with found.connect() as session:
                session.execute("ALTER SYSTEM SET fsync = off")
                session.execute("SELECT pg_reload_conf()")
            yield found
        finally:
            server.stop()
            shutil.rmtree(server.location.sockets, ignore_errors=True)


@contextmanager
def standby_of(primary: Private) -> Iterator[Path]:
    """A streaming standby, to which the primary's commits wait to be written; the folder of its
    socket."""
    account = account_of(primary.server.location)
    runnable = binaries.reachable(
        primary.server.binaries, account, primary.server.location.state
    ).program
    with open_folder() as folder:
        account.own(folder)
        control = [runnable("pg_ctl"), "--pgdata", str(folder / "data"), "--silent", "--wait"]
        options = f"-c listen_addresses= -c unix_socket_directories={folder}"
        run: Any = partial(
            subprocess.run, env=for_server(), cwd=folder, check=True, **account.identity()
        )
        try:
            words = ["--host", str(primary.server.location.sockets), "--username", SUPERUSER]
            copy = ["--pgdata", str(folder / "data"), "--checkpoint=fast", "--write-recovery-conf"]
            run([runnable("pg_basebackup"), *words, *copy])
            run([*control, "--log", str(folder / "log"), "--options", options, "start"])
            with primary.connect() as session:
                session.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                session.execute("SELECT pg_reload_conf()")
                streaming = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
                assert eventually(lambda: session.execute(streaming).fetchone() == (1,))
            yield folder
        finally:
            run([*control, "--mode", "immediate", "stop"], check=False)
