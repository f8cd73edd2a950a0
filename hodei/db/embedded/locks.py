"""Locks on files that the kernel drops when their holder is gone, however it went."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hodei.db.embedded.errors import FolderUnusable

# Note [Open file descriptions]
# flock belongs to the open file, not to the process: it lasts until the last descriptor of it is
# closed. So it can be handed to a child (initdb, postgres), which then holds it for its own life,
# and a forked child must close its copy. Python opens files close-on-exec: nothing else gets it.


def opened(path: Path, owner: int = -1) -> int:
    """Open a lock file, making it where it is missing; a new one gets the owner."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return os.open(path, flags)
    except PermissionError as error:
        raise FolderUnusable(
            f"{path} belongs to another user (it was made as root, perhaps): run as that user, "
            "give the folder to this one, or set HODEI_EMBEDDED_DIR to a folder of your own."
        ) from error
    except OSError as error:
        raise FolderUnusable(f"{path} cannot be opened ({error.strerror}).") from error
    if owner > 0 and os.geteuid() == 0:
        os.chown(handle, owner, -1)
    return handle


def take(path: Path, operation: int, owner: int = -1) -> int:
    """Wait for the lock and return the open file that holds it."""
    while True:
        handle = opened(path, owner)
        try:
            fcntl.flock(handle, operation)
            if same_file(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        # Somebody removed the folder while we waited: that lock guards nothing any more.
        os.close(handle)


def try_exclusive(handle: int) -> bool:
    """Exchange whatever lock the open file has for an exclusive one, if nobody else has any."""
    fcntl.flock(handle, fcntl.LOCK_UN)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock exclusively."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def exclusive(path: Path, owner: int = -1) -> Iterator[int]:
    """Hold the lock for a block. Waits without a limit: every holder has one of its own."""
    handle = take(path, fcntl.LOCK_EX, owner)
    try:
        yield handle
    finally:
        os.close(handle)
