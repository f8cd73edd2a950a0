"""Where the embedded PostgreSQL lives: a function of the folder asked for, by stat calls alone.

Settings call ``locate`` in every process, so nothing here starts, writes or imports anything.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

#: The port names the socket file; nothing listens on TCP.
PORT = 5432
SUPERUSER = "postgres"
DATABASE = "hodei"

#: What root keeps where the service user cannot reach the folder asked for.
STATE = Path("/var/lib/hodei")

#: TMPDIR may differ between two shells that share one server, so it is not asked.
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  (the socket folder's owner and mode are checked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The parts of one embedded PostgreSQL. They need not exist."""

    #: The folder asked for, resolved.
    directory: Path
    #: The folder that holds data, log and locks: ``directory``, or one below ``state``.
    home: Path
    data: Path
    sockets: Path
    #: Whose server it is. 0 stands for the service user that root starts it as.
    uid: int
    #: The folder that keeps the service user out, where one does.
    closed: Path | None
    state: Path

    @property
    def relocated(self) -> bool:
        """Whether the data lies elsewhere because the service user could not reach it."""
        return self.closed is not None

    @property
    def start_lock(self) -> Path:
        """Held exclusively while a server is created, started or stopped."""
        return self.home / "start.lock"

    @property
    def users_lock(self) -> Path:
        """Held shared by every process that uses the server, for as long as it lives."""
        return self.home / "users.lock"

    @property
    def server_lock(self) -> Path:
        """Held by the server and its children, so it is free exactly when none is alive."""
        return self.home / "server.lock"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def keep(self) -> Path:
        """Exists while the server is to outlive its users (``python -m hodei.embedded start``)."""
        return self.home / "keep"

    @property
    def completed(self) -> Path:
        """Names the running server whose databases were seen to be complete."""
        return self.home / "completed"

    @property
    def socket(self) -> Path:
        return self.sockets / f".s.PGSQL.{PORT}"

    def url(self, database: str = DATABASE) -> str:
        """The address as psql, pg_dump, psycopg and DATABASE_URL take it."""
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={host}&port={PORT}"


def locate(directory: str | os.PathLike[str], *, state: Path | None = None) -> Location:
    """Say where the parts of the server for this folder are.

    The answer is the same before and after the folder is made. As root it depends on who made the
    server (its owner goes on running it) and on whether a service user can enter the folder.
    """
    path, state = Path(os.path.realpath(directory)), state or STATE
    euid = os.geteuid()
    uid = euid or _owner(path / "start.lock") or _owner(path / "PG_VERSION") or 0
    closed = closed_to(None, path) if uid == 0 else None
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    home = path if closed is None else state / digest
    # A bare data folder, made by hand or with another tool, serves as it is.
    data = home if (home / "PG_VERSION").is_file() else home / "data"
    sockets = Path(_temporary()) / f"hodei-{uid}-{digest}"
    return Location(
        directory=path, home=home, data=data, sockets=sockets, uid=uid, closed=closed, state=state
    )


def closed_to(uid: int | None, path: Path) -> Path | None:
    """The outermost existing folder on this way that the user may not enter; None stands for a
    user who owns nothing. Groups are not asked: what only a group may enter counts as closed."""
    for folder in (*reversed(path.parents), path):
        try:
            found = folder.stat()
        except OSError:
            return None
        wanted = stat.S_IXUSR if found.st_uid == uid else stat.S_IXOTH
        if not found.st_mode & wanted:
            return folder
    return None


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _temporary() -> str:
    usable = (path for path in TEMPORARY if os.access(path, os.W_OK | os.X_OK))
    return next(usable, TEMPORARY[0])
