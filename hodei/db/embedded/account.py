"""Whom the server runs as: this user, or the service user when this is root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hodei.db.embedded.errors import EmbeddedError
from hodei.db.embedded.location import Location

#: PostgreSQL refuses to run as root, so root runs it as this user.
SERVICE_USER = "hodei"


@dataclass(frozen=True, slots=True)
class Account:
    """A user and whether this process has to become it to start a program of PostgreSQL."""

    uid: int
    gid: int
    switch: bool

    def identity(self) -> dict[str, Any]:
        """The arguments of subprocess.Popen that start a program as this user."""
        if not self.switch:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}

    def own(self, path: Path) -> None:
        """Give one of our files or folders, never what lies above it, to this user."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def account_of(location: Location) -> Account:
    """The user that runs this server; the service user is made where root needs it.

    Raises EmbeddedError where it is missing and cannot be made.
    """
    euid = os.geteuid()
    if euid != 0:
        return Account(euid, os.getegid(), switch=False)
    if location.uid:
        return Account(location.uid, _primary_group(location), switch=True)
    entry = _service_user()
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def _primary_group(location: Location) -> int:
    try:
        return pwd.getpwuid(location.uid).pw_gid
    except KeyError:
        # A folder from outside of a container: its owner has no name in here.
        return location.directory.stat().st_gid


def _service_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        reason = _make_service_user()
    try:
        # Another process may have made it meanwhile, whatever ours said.
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and the user {SERVICE_USER!r} to run it as could "
            f"not be made ({reason}): make that user ('useradd --system {SERVICE_USER}'), run "
            "this as a normal user, or set DATABASE_URL."
        ) from None


def _make_service_user() -> str:
    """Run useradd and return what it said."""
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", SERVICE_USER]
    search = os.pathsep.join(filter(None, [os.environ.get("PATH"), "/usr/sbin", "/sbin"]))
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env={"PATH": search, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip() or f"useradd ended with {done.returncode}"
