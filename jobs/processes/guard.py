"""Ends what a worker ran when the worker is gone: SIGKILL, the OOM killer, a crash.

A parent cannot clean up after its own SIGKILL, and PR_SET_PDEATHSIG reaches children only, not
theirs, and would need code between fork and exec, which is not safe in a process with threads. So a
process of its own, which each worker starts before its first command, watches for it.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from jobs.processes import watcher
from jobs.processes.invocation import RUN

logger = logging.getLogger(__name__)

#: Variables that the interpreter itself may need to start.
LINKER = ("LD_LIBRARY_PATH",)


class Guard:
    """For the threads of one worker together."""

    def __init__(self) -> None:
        #: Marks the processes of this worker, by the variable RUN.
        self.token = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        self._mutex = threading.Lock()
        #: What there is now: ``group 123``, ``run MARK``, ``folder /path``.
        self._there: set[str] = set()

    def mark(self, run: str) -> str:
        """The value of the variable RUN for one run."""
        return f"{self.token}.{run}"

    def start(self) -> None:
        """Start it, if it does not run. Raises OSError."""
        with self._mutex:
            self._ensure()

    def look(self) -> None:
        """Replace it if somebody has killed it. Called now and then while something runs."""
        with self._mutex:
            if self._process is not None and self._process.poll() is not None:
                self._replace()

    def add_run(self, run: str) -> None:
        """Say so before it is started: what has its mark is ended with the worker."""
        self._note(f"run {run}")

    def remove_run(self, run: str) -> None:
        """What it has left behind on purpose may stay."""
        self._forget(f"run {run}")

    def add_group(self, group: int) -> None:
        self._note(f"group {group}")

    def remove_group(self, group: int) -> None:
        """Say so before the group's leader is waited for: its number may be given anew then."""
        self._forget(f"group {group}")

    def add_folder(self, path: str) -> None:
        """Say so before the folder is made."""
        self._note(f"folder {path}")

    def remove_folder(self, path: str) -> None:
        self._forget(f"folder {path}")

    def close(self) -> None:
        """The worker ends; whatever it still runs is ended, too."""
        with self._mutex:
            self._drop()

    def _note(self, entry: str) -> None:
        with self._mutex:
            self._there.add(entry)
            self._tell(f"+{entry}")

    def _forget(self, entry: str) -> None:
        with self._mutex:
            self._there.discard(entry)
            self._tell(f"-{entry}")

    def _tell(self, line: str) -> None:
        try:
            self._write(line)
        except OSError:
            self._replace()

    def _replace(self) -> None:
        """A new one is told everything."""
        self._drop()
        try:
            self._ensure()
        except OSError:
            logger.exception("the guard of a worker's commands cannot be started")

    def _drop(self) -> None:
        """Let it end, which it does when its stdin is closed."""
        process, self._process = self._process, None
        if process is not None:
            stdin: Any = process.stdin
            with suppress(OSError):
                stdin.close()
            process.wait()

    def _ensure(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._drop()
        self._process = subprocess.Popen(  # noqa: S603  (our own program)
            [sys.executable, "-I", "-S", watcher.__file__, RUN],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={name: os.environ[name] for name in LINKER if name in os.environ},
            # A signal to the worker's group, Ctrl-C for one, must not reach it.
            start_new_session=True,
        )
        for entry in sorted(self._there):
            self._write(f"+{entry}")

    def _write(self, line: str) -> None:
        if self._process is None:
            raise BrokenPipeError
        stdin: Any = self._process.stdin
        # Fewer bytes than PIPE_BUF go whole or not at all.
        os.write(stdin.fileno(), os.fsencode(line) + b"\n")
