"""What the running server has written about itself, and whether it is really there."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hodei.db.embedded import locks
from hodei.db.embedded.folders import is_private
from hodei.db.embedded.location import Location

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The contents of postmaster.pid, or of a socket's lock file, which begins alike.

    The file may be about a process that is long gone, or whose number another one has now.
    """

    pid: int
    data: Path
    #: Unix time of its start, as text: with the number it names one server and no other.
    started: str = ""
    sockets: str = ""
    #: "starting", "ready", "stopping", or empty while the file is being written.
    status: str = ""

    @property
    def name(self) -> str:
        return f"{self.pid} {self.started}"


def read(path: Path) -> Postmaster | None:
    """Read such a file; None where it is missing, empty or torn."""
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        # A postmaster writes its number, a single-user or bootstrap process minus its number.
        pid, data = abs(int(lines[0])), Path(lines[1])
    except (OSError, ValueError, IndexError):
        return None
    rest = [line.strip() for line in lines[2:]] + [""] * 6
    # The lines: start time, port, socket folder, listen address, shared memory key, status.
    return Postmaster(pid, data, started=rest[0], sockets=rest[2], status=rest[5])


def of(location: Location) -> Postmaster | None:
    return read(location.data / "postmaster.pid")


def runs(pid: int, data: Path) -> bool:
    """Whether this number is, now, a process of PostgreSQL on this data."""
    if (PROC / "self").exists():
        try:
            if not (PROC / str(pid) / "comm").read_text().startswith("postgres"):
                return False
            folder = (PROC / str(pid) / "cwd").readlink()
        except OSError:
            # Gone, a zombie, or another user's.
            return False
        return str(folder).removesuffix(" (deleted)") == os.path.realpath(data)
    listed = subprocess.run(  # noqa: S603
        ["/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    )
    return "postgres" in listed.stdout and str(data) in listed.stdout


def alive(location: Location) -> bool:
    """Whether any process of PostgreSQL works on the data.

    The lock answers for every server that was started here, whatever its number and whichever
    container it is in; the file answers for one that was started by hand.
    """
    if locks.is_held(location.server_lock):
        return True
    found = of(location)
    return found is not None and runs(found.pid, location.data)


def is_ready(location: Location, uid: int) -> bool:
    """Whether the server of this location takes connections."""
    found = of(location)
    return (
        found is not None
        and found.status == "ready"
        and locks.is_held(location.server_lock)
        and is_private(location.sockets, uid)
        and _listens(location.socket)
    )


def _listens(path: Path) -> bool:
    """Whether somebody listens: a killed server leaves a socket behind on which nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(5)
        try:
            knock.connect(str(path))
        except OSError:
            return False
    return True


def family(data: Path) -> list[int]:
    """The processes of PostgreSQL on this data; empty where the system has no /proc."""
    numbers = [int(entry.name) for entry in PROC.glob("[0-9]*")] if PROC.is_dir() else []
    return [pid for pid in numbers if runs(pid, data)]
