"""Ends a wait for the database's notifications from another thread, or from a signal's handler."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Any


class Pipe:
    """``ring`` may be called anywhere; ``wait`` by one thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def ring(self) -> None:
        with suppress(OSError):
            os.write(self._write, b"\0")

    def wait(self, session: Any, seconds: float) -> None:
        """Until somebody rings, the server says something, or the time is over."""
        found, _, _ = select.select([self._read, session.fileno()], [], [], seconds)
        if self._read in found:
            with suppress(BlockingIOError):
                while os.read(self._read, 4096):
                    pass

    def close(self) -> None:
        os.close(self._read)
        write, self._write = self._write, -1
        os.close(write)
