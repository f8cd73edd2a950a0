"""The folders of the embedded PostgreSQL: made, checked, and never a parent touched."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

from hodei.db.embedded.account import SERVICE_USER, Account
from hodei.db.embedded.errors import FolderUnusable
from hodei.db.embedded.location import Location

#: In the folder asked for, when the data lies elsewhere; it holds the path.
POINTER = "relocated-to"


def say(text: str) -> None:
    """Tell the person at the terminal, whose standard output may be somebody's data."""
    try:
        sys.stderr.write(f"hodei: {text}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        return  # A daemon may have no stderr, and this is no reason to fail.


def prepare(location: Location, account: Account) -> None:
    """Make the folder of the server. Raises FolderUnusable."""
    try:
        if location.relocated:
            _relocate(location)
        make(location.home, 0o755 if account.switch else 0o700)
    except OSError as error:
        raise FolderUnusable(
            f"The folder of the embedded PostgreSQL, {location.home}, cannot be made "
            f"({error.strerror}: {error.filename}): set HODEI_EMBEDDED_DIR to a folder that this "
            "user can write, or DATABASE_URL."
        ) from error


def make(folder: Path, mode: int) -> None:
    """Make a folder and what is missing above it. What exists keeps its mode."""
    if folder.is_dir():
        return
    make(folder.parent, 0o755)
    try:
        folder.mkdir(mode)
    except FileExistsError:
        return
    if os.geteuid() == 0:
        # Past root's umask: the service user must get through.
        folder.chmod(mode)


def _relocate(location: Location) -> None:
    if (location.directory / "data" / "PG_VERSION").is_file() and not location.data.exists():
        raise FolderUnusable(
            f"The user {SERVICE_USER!r}, as whom root runs PostgreSQL, cannot enter "
            f"{location.closed}, where the data is ({location.directory}): open that folder to "
            f"others (chmod o+x), or move the data: mkdir -p {location.home} && "
            f"mv {location.directory / 'data'} {location.home}/"
        )
    make(location.state, 0o755)
    found = location.state.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise FolderUnusable(f"{location.state} must be a folder that only root may write.")


def point_to(location: Location) -> None:
    """Leave a word in the folder asked for about where its data is, and set the data aside that a
    folder of the same name, since removed, has left. Call it under the start lock."""
    if not location.relocated:
        return
    pointer, origin = location.directory / POINTER, location.home / "origin"
    if pointer.is_file():
        return
    if origin.is_file() and location.data.exists():
        previous = location.home / "data.previous"
        shutil.rmtree(previous, ignore_errors=True)
        location.data.rename(previous)
        say(
            f"{location.directory} was removed since its data was made, so this begins anew; "
            f"the old data is in {previous}."
        )
    elif not location.data.exists():
        say(
            f"PostgreSQL runs as the user {SERVICE_USER!r}, who cannot enter {location.closed}, "
            f"so the data of {location.directory} is in {location.home}."
        )
    try:
        make(location.directory, 0o755)
        pointer.write_text(f"{location.home}\n", encoding="utf-8")
    except OSError:
        return  # A checkout that cannot be written has no use for the pointer.
    origin.write_text(f"{location.directory}\n", encoding="utf-8")


def prepare_sockets(location: Location, account: Account) -> None:
    """Make the folder of the socket. Raises FolderUnusable where somebody else made it.

    Call it under the start lock: stopping a server removes the folder.
    """
    folder = location.sockets
    try:
        folder.mkdir(0o700)
        account.own(folder)
    except FileExistsError:
        # Root may have been killed between the two calls above.
        if account.switch and is_private(folder, 0):
            account.own(folder)
    except OSError as error:
        raise FolderUnusable(f"{folder} cannot be made ({error.strerror}).") from error
    if not is_private(folder, account.uid):
        raise FolderUnusable(
            f"{folder}, the folder of the embedded PostgreSQL's socket, is not a folder that only "
            f"user {account.uid} may enter: somebody else made it. Remove it and try again."
        )


def is_private(folder: Path, uid: int) -> bool:
    """Whether this is a real folder of that user which nobody else may enter."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077
