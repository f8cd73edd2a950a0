"""Lets a person or a supervisor stop a command where it can be gone on with."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STOPPING = b"Stopping after this batch; a second signal ends it at once.\n"


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the second of them ends the process at once.

    Outside of the main thread, where signals are somebody else's, nothing sets it.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def end(number: int, _frame: object) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()
        # Past what the interrupted code may be writing just now: it may wait for a lock for long.
        with suppress(OSError):
            os.write(2, STOPPING)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
