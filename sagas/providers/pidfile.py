"""Which process has a key: a file that says so, held against what the kernel says of it.

A number alone names no process, since the kernel gives it again. So the file has the time at which
the process started, too, and the boot in which it did. No Django: it is imported before there is
one.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process among all that ever ran on this machine."""

    pid: int
    #: When it started, in the kernel's words.
    started: str
    boot: str

    def is_alive(self) -> bool:
        """Whether it runs still, or is stopped; one that has ended and was not waited for is not
        alive."""
        return self == of_pid(self.pid)


def of_pid(pid: int) -> Process | None:
    """The process that has this number now, or None."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        # Behind the name, which may have spaces and brackets: state is first, start is the 20th.
        words = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None if BOOT_ID.exists() else _without_proc(pid)
    if words[0] in {"Z", "X"}:
        return None
    return Process(pid=pid, started=words[19], boot=BOOT_ID.read_text().strip())


def _without_proc(pid: int) -> Process | None:
    done = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = done.stdout.strip().partition(" ")
    if done.returncode or state.startswith("Z"):
        return None
    return Process(pid=pid, started=started.strip(), boot="")


def hold(folder: str | Path, key: str) -> int | None:
    """Take the lock of the key, for one process to be started under it: a descriptor, or None where
    another process has it, or is starting. Whoever is given the descriptor has the lock, whatever
    program it becomes; it is free when all of them are gone."""
    path = Path(folder) / f"{key}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(descriptor, fcntl.LOCK_EX) or not _is_still(path, descriptor):
            os.close(descriptor)
            return None
        # Nobody lives who could have written it.
        path_of(folder, key).unlink(missing_ok=True)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def note(folder: str | Path, key: str) -> None:
    """Say that the calling process, which has the lock, has the key."""
    mine = of_pid(os.getpid())
    if mine is None:
        raise OSError(f"the kernel says nothing of process {os.getpid()}")
    part = Path(folder) / f"{key}.{os.getpid()}.part"
    part.write_text(json.dumps(asdict(mine)), encoding="utf-8")
    part.replace(path_of(folder, key))


def find(folder: str | Path, key: str) -> Process | None:
    """The live process that has the key, or None."""
    try:
        found = Process(**json.loads(path_of(folder, key).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.is_alive() else None


def is_starting(folder: str | Path, key: str) -> bool:
    """Whether a process is about to note itself under the key."""
    if path_of(folder, key).exists():
        return False
    try:
        descriptor = os.open(Path(folder) / f"{key}.lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file that was locked is the one that others find: it may have been removed."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def path_of(folder: str | Path, key: str) -> Path:
    return Path(folder) / f"{key}.json"
