"""PgBouncer in front of a database, for the time of a test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.processes import eventually


@contextmanager
def pgbouncer(database: dict[str, Any], mode: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The database, in Django's terms, as it is reached through the pooler.

    Skips the test where it is not installed, and fails it where HODEI_REQUIRE names it.
    """
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        if "pgbouncer" in os.environ.get("HODEI_REQUIRE", ""):
            pytest.fail("HODEI_REQUIRE names pgbouncer, and it is not installed.")
        pytest.skip("pgbouncer is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    users = folder / "users.txt"
    users.write_text(f'"{database["USER"]}" "{database["PASSWORD"]}"\n', encoding="utf-8")
    settings = folder / "pgbouncer.ini"
    # It does not run as root; who it runs as then must be able to read its files.
    account = f"user = {_reader_of(database['HOST'])}\n" if os.getuid() == 0 else ""
    for path in (folder, *folder.parents):
        if path.stat().st_mode & 0o005 == 0o005:  # the folder of all temporary ones, at last
            break
        path.chmod(0o755)
    settings.write_text(
        f"[databases]\n* = host={database['HOST']} port={database['PORT']}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {users}\npool_mode = {mode}\n{account}",
        encoding="utf-8",
    )
    process = subprocess.Popen([program, "-q", str(settings)], stderr=subprocess.DEVNULL)
    through = {**database, "HOST": "127.0.0.1", "PORT": str(port)}
    try:
        assert eventually(lambda: _answers(through))
        yield through
    finally:
        process.terminate()
        process.wait(30)


def _answers(database: dict[str, Any]) -> bool:
    try:
        with psycopg.connect(
            host=database["HOST"],
            port=database["PORT"],
            user=database["USER"],
            dbname=database["NAME"],
            password=database["PASSWORD"],
        ) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def _reader_of(host: str) -> str:
    """An account, other than root's, that may connect there: to a socket, its folder's owner."""
    return Path(host).owner() if host.startswith("/") else "nobody"
