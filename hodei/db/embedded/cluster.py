"""The data of the embedded PostgreSQL: created whole or not at all, and fit for these programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hodei.db.embedded import binaries as programs
from hodei.db.embedded import upgrade
from hodei.db.embedded.account import Account
from hodei.db.embedded.binaries import Binaries
from hodei.db.embedded.environment import for_server
from hodei.db.embedded.errors import FolderUnusable, ServerFailed
from hodei.db.embedded.location import SUPERUSER, Location

#: An initdb takes a second; this is for a machine that is very busy.
INITDB_SECONDS = 300


def check(location: Location, account: Account, binaries: Binaries) -> bool:
    """Whether there is data, and that these programs can serve it.

    Raises OtherMajorVersion or FolderUnusable, with the way out.
    """
    data = location.data
    try:
        if not data.is_dir() or not any(data.iterdir()):
            return False
        found = upgrade.major_of(data)
    except PermissionError as error:
        raise FolderUnusable(_foreign(data, account)) from error
    if found is None:
        raise FolderUnusable(
            f"{data} is no data folder of PostgreSQL (it has no PG_VERSION): move it away, and a "
            "new one is made."
        )
    if found != binaries.major:
        raise upgrade.other_major(location, found, binaries)
    _adopt(data, account)
    return True


def _adopt(data: Path, account: Account) -> None:
    """Mend what copying a checkout as root does to its data: owner and mode."""
    status = data.stat()
    if status.st_uid == 0 and account.switch:
        for folder, folders, files in os.walk(data):
            for name in (".", *folders, *files):
                account.own(Path(folder, name))
        status = data.stat()
    if status.st_uid != account.uid:
        raise FolderUnusable(_foreign(data, account))
    if status.st_mode & 0o077:
        data.chmod(0o700)


def _foreign(data: Path, account: Account) -> str:
    return (
        f"{data} belongs to user {data.stat().st_uid}, and PostgreSQL runs as user {account.uid} "
        "here: run this as that user, give the data to this one (chown -R), or set "
        "HODEI_EMBEDDED_DIR to another folder."
    )


def create(location: Location, account: Account, binaries: Binaries, start_lock: int) -> None:
    """Make the data folder beside its place and move it there, so that it is never half made.

    Call it under the start lock, whose open file initdb gets too: when this process is killed, the
    next one waits until the initdb that is left has ended (see Note [Open file descriptions]).
    """
    prune(location)
    beside = location.data.with_name(f"{location.data.name}.new-{os.getpid()}")
    beside.mkdir(0o700)
    account.own(beside)
    with tempfile.TemporaryDirectory(prefix="new-", dir=location.sockets) as scratch:
        Path(scratch).chmod(0o755)
        if account.switch:
            account.own(Path(scratch))
        safe = programs.for_initdb(binaries, Path(scratch))
        _initdb(safe, beside, account, start_lock)
    _sync(beside)
    beside.rename(location.data)
    _sync(location.home)


def prune(location: Location) -> None:
    """Remove what a killed initdb has left. Call it under the start lock."""
    for left in location.home.glob(f"{location.data.name}.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in location.sockets.glob("new-*"):
        shutil.rmtree(left, ignore_errors=True)


def _initdb(binaries: Binaries, data: Path, account: Account, start_lock: int) -> None:
    if binaries.major >= 17:
        # Built into PostgreSQL, so the same on every system: UTF-8 with Unicode's upper and lower.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        locale = ["--locale=C"]
    command = [binaries.program("initdb"), "-D", str(data), "-U", SUPERUSER, "--encoding=UTF8"]
    command += [*locale, "--auth-local=trust", "--auth-host=reject"]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=for_server(),
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=INITDB_SECONDS,
            pass_fds=(start_lock,),
            **account.identity(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerFailed(f"initdb did not make {data}: {error}.") from error
    if done.returncode:
        shutil.rmtree(data, ignore_errors=True)
        last = "\n".join(done.stdout.strip().splitlines()[-8:])
        raise ServerFailed(f"initdb could not make the data folder; its last words:\n{last}")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
