"""What a run has written: all of it in a local file, and the newest of it in memory.

The file has no name, so nothing of it is left when the process is gone, however it went. Where the
disk is full, what comes then is counted and left out: a job does not fail over its log.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import IO

logger = logging.getLogger(__name__)

#: Bytes of the tail.
LARGEST_TAIL = 64 * 1024
READ = 64 * 1024


@dataclass(frozen=True, slots=True)
class Tail:
    """The newest bytes, and how many there were in all."""

    job_id: uuid.UUID
    epoch: int
    tail: bytes
    total: int


class Spool:
    """Written by the thread of a run; its tail is taken by another."""

    def __init__(self, job_id: uuid.UUID, epoch: int, folder: str | None) -> None:
        self.job_id = job_id
        self.epoch = epoch
        #: Bytes and lines that are in the file.
        self.size = 0
        self.lines = 0
        #: Bytes that are not, since the disk would not have them, and what it said.
        self.left_out = 0
        self.error: OSError | None = None
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._mutex = threading.Lock()
        self._tail = bytearray()
        self._total = 0
        self._told = 0

    def write(self, lines: bytes) -> None:
        """Add whole lines."""
        if not lines:
            return
        with self._mutex:
            self._total += len(lines)
            self._tail += lines[-LARGEST_TAIL:]
            if len(self._tail) > 2 * LARGEST_TAIL:
                del self._tail[:-LARGEST_TAIL]
        if self.error is None:
            self._write(lines)
        if self.error is not None:
            self.left_out += len(lines)

    def newest(self) -> Tail | None:
        """The tail, if there was something since it was asked for last."""
        with self._mutex:
            if self._total == self._told:
                return None
            self._told = self._total
            newest = bytes(self._tail[-LARGEST_TAIL:])
            return Tail(self.job_id, self.epoch, newest, self._total)

    def file(self) -> IO[bytes] | None:
        """The file at its beginning; None if nothing is in it."""
        if self._file is None or not self.size:
            return None
        self._file.seek(0)
        return self._file

    def add_at_last(self, lines: bytes) -> None:
        """Add lines although the disk is full, in place of the newest bytes if need be."""
        if self.error is None or self._file is None:
            self.write(lines)
            return
        with suppress(OSError):
            keep = _line_before(self._file, self.size - len(lines))
            self._file.truncate(keep)
            self._file.seek(keep)
            self._file.write(lines)
            self.size = keep + len(lines)
            self._file.seek(0)
            pieces = iter(partial(self._file.read, READ), b"")
            self.lines = sum(piece.count(b"\n") for piece in pieces)
        with self._mutex:
            self._total += len(lines)
            self._tail += lines

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def _write(self, lines: bytes) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(  # noqa: SIM115  (closed by close)
                    buffering=0, prefix="hodei-log-", dir=self._folder
                )
            rest = memoryview(lines)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error
            logger.warning("output of a job cannot be kept job_id=%s error=%s", self.job_id, error)
            if self._file is not None:
                with suppress(OSError):
                    self._file.truncate(self.size)
            return
        self.size += len(lines)
        self.lines += lines.count(b"\n")


def _line_before(file: IO[bytes], limit: int) -> int:
    """The end of the last whole line before ``limit``; lines are shorter than what is looked at."""
    start = max(limit - 4 * LARGEST_TAIL, 0)
    file.seek(start)
    return start + file.read(max(limit - start, 0)).rfind(b"\n") + 1
