"""Folders for servers of a test's own: PostgreSQL runs as another user there, when root tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A file system in memory, and the free bytes from which on it has room for some servers: to make
#: one takes half as long there.
MEMORY = Path("/dev/shm")
ROOM = 2 << 30


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike tmp_path, and that goes with what is in it."""
    path = Path(tempfile.mkdtemp(prefix="hodei-test-", dir=_where())).resolve()
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _where() -> Path:
    """In memory, unless it is too small, not for this user, or not for programs."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        found = os.statvfs(MEMORY)
        runs_programs = not found.f_flag & getattr(os, "ST_NOEXEC", 0)
        if runs_programs and found.f_bavail * found.f_frsize >= ROOM:
            return MEMORY
    return Path("/tmp")
