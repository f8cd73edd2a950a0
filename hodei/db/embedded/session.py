"""This process as a user of the embedded PostgreSQL, from its first connection to its end.

Every user holds a shared lock for its whole life; the kernel drops it, however the process ends.
One that ends in order and finds that nobody else holds it stops the server. One that is killed
stops nothing: the next user finds the server running, or starts it again.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hodei.db.embedded import binaries as programs
from hodei.db.embedded import folders, locks, postmaster, server
from hodei.db.embedded.account import account_of
from hodei.db.embedded.binaries import Binaries
from hodei.db.embedded.errors import EmbeddedError
from hodei.db.embedded.location import Location, locate

#: Set for the processes that this one starts: they need not say again which database is used.
TOLD = "HODEI_EMBEDDED_TOLD"


@dataclass(slots=True)
class _Session:
    location: Location
    #: Whom the server runs as.
    uid: int
    #: The open file of the users' lock.
    handle: int

    def is_valid(self) -> bool:
        """Whether the lock still counts: a folder that was removed has another, or none."""
        return locks.same_file(self.handle, self.location.users_lock)

    def leave(self) -> None:
        """Stop being a user, and stop the server if nobody else is one and nobody keeps it."""
        location = self.location
        try:
            last = self.is_valid() and locks.try_exclusive(self.handle)
            if last and not location.keep.exists():
                server.stop(location)
        finally:
            os.close(self.handle)


_guard = threading.RLock()
_sessions: dict[str, _Session] = {}
_ended = False


def ensure(
    directory: str | os.PathLike[str], *, told: bool = True, binaries: Binaries | None = None
) -> Location:
    """Make sure that the server of this folder runs, and be one of its users until this process
    ends.

    ``told=False`` keeps quiet about it; ``binaries`` stand in for the wheel's highest version.
    Raises EmbeddedError.
    """
    session = _sessions.get(os.fspath(directory))
    if session and session.is_valid() and postmaster.is_ready(session.location, session.uid):
        return session.location
    with _guard:
        if _ended:
            raise EmbeddedError("This process is ending and has left the embedded PostgreSQL.")
        session = _sessions.get(os.fspath(directory))
        if session is not None and not session.is_valid():
            os.close(_sessions.pop(os.fspath(directory)).handle)
            session = None
        # libpq has no parameter that overrules it, and it is about another server.
        os.environ.pop("PGSERVICE", None)
        location = session.location if session else locate(directory)
        private = server.Server(location, binaries or programs.default())
        if session is None:
            session = _enter(location)
            _leave_at_exit()
            _sessions[os.fspath(directory)] = session
        private.start()
        if told:
            _tell(private)
        return location


def is_used(location: Location) -> bool:
    """Whether any process, this one too, is a user of the server."""
    try:
        handle = os.open(location.users_lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not locks.try_exclusive(handle)
    finally:
        os.close(handle)


def _enter(location: Location) -> _Session:
    account = account_of(location)
    folders.prepare(location, account)
    # Waits while the last user is stopping the server.
    handle = locks.take(location.users_lock, fcntl.LOCK_SH, location.uid)
    return _Session(location, account.uid, handle)


def _tell(private: server.Server) -> None:
    location = private.location
    if os.environ.get(TOLD) == str(location.home):
        return
    os.environ[TOLD] = str(location.home)
    where = location.home
    if where.is_relative_to(Path.cwd()):
        where = where.relative_to(Path.cwd())
    folders.say(
        f"using the embedded PostgreSQL {private.binaries.version}, data in {where} "
        "(set DATABASE_URL to use another)"
    )


@cache
def _leave_at_exit() -> None:
    atexit.register(_leave_all)


def _leave_all() -> None:
    global _ended  # noqa: PLW0603  (a process ends once)
    with _guard:
        _ended = True
        for session in _sessions.values():
            try:
                session.leave()
            except (EmbeddedError, OSError) as error:
                folders.say(str(error))
        _sessions.clear()


def _after_fork() -> None:
    """A forked child is no user yet: its copy of the lock would outlive its parent's."""
    global _guard  # noqa: PLW0603  (another thread may have held it in the parent)
    _guard = threading.RLock()
    for session in _sessions.values():
        os.close(session.handle)
    _sessions.clear()


os.register_at_fork(after_in_child=_after_fork)
