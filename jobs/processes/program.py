"""One running program: its streams, its group, its end. For one thread, which waits for it."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jobs.processes.guard import Guard
from jobs.processes.invocation import RUN
from jobs.processes.watcher import kill_group, kill_marked
from jobs.runs import Run
from jobs.states import FailureKind

logger = logging.getLogger(__name__)

#: Bytes of one read.
READ = 64 * 1024
#: Seconds that children may go on writing after their program has ended.
LINGER_SECONDS = 1.0
#: Seconds between two looks at the clock, while nothing happens.
TICK_SECONDS = 0.5
#: Where the system cannot tell of the end of a process: seconds between two looks for it.
LOOK_SECONDS = 0.05
#: Seconds until a process that was killed is given up: it hangs in the kernel.
UNKILLABLE_SECONDS = 10.0

STDOUT, STDERR = 1, 2

#: Called with the stream and what came, and with no bytes now and then.
Sink = Callable[[int, bytes], None]


class End(StrEnum):
    """What ended a program."""

    ITSELF = "itself"
    TIMEOUT = "timeout"
    STOP = "stop"


class SpawnFailed(Exception):  # noqa: N818  (it reads as the fact it states)
    """The program could not be started."""

    def __init__(self, kind: FailureKind, message: str, *, retryable: bool | None = None) -> None:
        self.kind = kind
        self.retryable = retryable
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended. ``code`` is negative for the number of a signal, None if it hangs."""

    by: End
    code: int | None


class Program:
    """Started at once, in a session and a group of its own. Raises SpawnFailed."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        working_dir: str | None,
        stdin: bytes | None,
        guard: Guard,
    ) -> None:
        self._guard = guard
        self._run = env[RUN]
        self._input = memoryview(stdin or b"")
        # Before there is anything to be ended, so that no moment is left out.
        guard.add_run(self._run)
        try:
            self._process = subprocess.Popen(  # noqa: S603  (a job's, which somebody was let enqueue)
                [_bytes(word) for word in words],
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={_bytes(name): _bytes(value) for name, value in env.items()},
                cwd=working_dir,
                start_new_session=True,
            )
        except OSError as error:
            guard.remove_run(self._run)
            raise _spawn_failed(error, words[0], working_dir) from error
        guard.add_group(self._process.pid)
        self._streams: tuple[Any, Any] = (self._process.stdout, self._process.stderr)
        #: Tells of its end, where the system can.
        self._handle: int | None = None
        self._kill_at: float | None = None
        self._killed_at: float | None = None
        self._over_at: float | None = None
        self._by = End.ITSELF

    def wait(self, run: Run, *, sink: Sink, grace: float) -> Ended:
        """Pass on what it writes until it ends by itself, by the run's deadline, or because the run
        is to stop. Then none of its group is left."""
        try:
            # Where the system has no descriptors left, it is ended, too: the job is run again.
            with selectors.DefaultSelector() as selector, _Alarm() as alarm:
                selector.register(alarm, selectors.EVENT_READ)
                self._open(selector)
                run.on_stop(alarm.ring)
                self._watch(selector, run, sink, grace)
        finally:
            code = self._clear(sink)
        return Ended(self._by, code)

    def _open(self, selector: selectors.BaseSelector) -> None:
        process = self._process
        stdout, stderr = self._streams
        for stream in (stdout, stderr, process.stdin):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
        selector.register(stdout, selectors.EVENT_READ, STDOUT)
        selector.register(stderr, selectors.EVENT_READ, STDERR)
        if process.stdin is not None:
            selector.register(process.stdin, selectors.EVENT_WRITE)
        try:
            self._handle = os.pidfd_open(process.pid)
        except (AttributeError, OSError):
            pass
        else:
            selector.register(self._handle, selectors.EVENT_READ)

    def _watch(self, selector: selectors.BaseSelector, run: Run, sink: Sink, grace: float) -> None:
        open_streams = {STDOUT, STDERR}
        while open_streams or self._over_at is None:
            for key, _ in selector.select(self._until(run)):
                if key.data in open_streams:
                    data = _read(key.fd)
                    if data == b"":
                        selector.unregister(key.fileobj)
                        open_streams.discard(key.data)
                    elif data is not None:
                        sink(key.data, data)
                elif key.fileobj is self._process.stdin:
                    self._feed(selector)
                elif key.fd == self._handle:
                    selector.unregister(key.fileobj)
                    self._over()
            if self._handle is None and self._over_at is None and _has_ended(self._process):
                self._over()
            sink(STDOUT, b"")
            self._guard.look()
            if self._decide(run, grace):
                return

    def _until(self, run: Run) -> float:
        """Seconds until something is to be decided."""
        now = time.monotonic()
        times = [now + (LOOK_SECONDS if self._handle is None else TICK_SECONDS)]
        if self._over_at is not None:
            times.append(self._lingers_until(self._over_at))
        elif self._kill_at is not None:
            times.append(self._kill_at)
        elif run.deadline is not None:
            times.append(run.deadline)
        return max(min(times) - now, 0.0)

    def _over(self) -> None:
        self._over_at = time.monotonic()

    def _decide(self, run: Run, grace: float) -> bool:
        """Do what it is time for; True if nothing is to be waited for any more."""
        now = time.monotonic()
        if self._over_at is not None:
            return run.lost or now >= self._lingers_until(self._over_at)
        if self._by is End.ITSELF:
            if run.stopping.is_set():
                self._by = End.STOP
            elif run.deadline is not None and now >= run.deadline:
                self._by = End.TIMEOUT
            else:
                return False
            # Of a lost lease, another worker may have the job: there is no time for a farewell.
            self._kill_at = now if run.lost else now + grace
            if not run.lost:
                kill_group(self._process.pid, signal.SIGTERM)
        if self._killed_at is not None:
            return now >= self._killed_at + UNKILLABLE_SECONDS
        if self._kill_at is not None and (now >= self._kill_at or run.lost):
            self._killed_at = now
            kill_group(self._process.pid)
        return False

    def _lingers_until(self, over_at: float) -> float:
        """How long its children may go on writing."""
        if self._by is End.ITSELF or self._kill_at is None:
            return over_at + LINGER_SECONDS
        return self._kill_at

    def _feed(self, selector: selectors.BaseSelector) -> None:
        stdin: Any = self._process.stdin
        try:
            written = os.write(stdin.fileno(), self._input[:READ])
            self._input = self._input[written:]
        except BlockingIOError:
            return
        except OSError:
            # It does not want to read the rest, which is its right.
            self._input = memoryview(b"")
        if not self._input:
            selector.unregister(stdin)
            stdin.close()

    def _clear(self, sink: Sink) -> int | None:
        """End what is left of it, take what was still written, and return the exit code."""
        process = self._process
        # Its number cannot be given anew before it is waited for.
        kill_group(process.pid)
        if self._by is not End.ITSELF:
            kill_marked(_bytes(f"{RUN}={self._run}\0"))
        self._guard.remove_group(process.pid)
        self._guard.remove_run(self._run)
        code: int | None = None
        try:
            code = process.wait(UNKILLABLE_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("a process cannot be killed pid=%s", process.pid)
        for number, stream in zip((STDOUT, STDERR), self._streams, strict=True):
            # One that left the group may go on writing; that is not waited for.
            for _ in range(16):
                if not (data := _read(stream.fileno())):
                    break
                sink(number, data)
            stream.close()
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        if self._handle is not None:
            os.close(self._handle)
        return code


class _Alarm:
    """Wakes a selector, from any thread, also when it is not there any more."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._closed = False
        self._ear, self._bell = os.pipe()

    def __enter__(self) -> _Alarm:
        return self

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            self._closed = True
            os.close(self._ear)
            os.close(self._bell)

    def fileno(self) -> int:
        return self._ear

    def ring(self) -> None:
        with self._mutex:
            if not self._closed:
                os.write(self._bell, b"!")


def _bytes(text: str) -> bytes:
    """As the system takes it, whatever the worker's locale is."""
    return text.encode(errors="surrogateescape")


def _read(descriptor: int) -> bytes | None:
    """What there is to read; nothing at the end, None if there is none yet."""
    try:
        return os.read(descriptor, READ)
    except BlockingIOError:
        return None


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended; its number stays taken where the system can do that."""
    if hasattr(os, "waitid"):
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, process.pid, options) is not None
    return process.poll() is not None


def _spawn_failed(error: OSError, program: str, working_dir: str | None) -> SpawnFailed:
    words = error.strerror or str(error)
    if working_dir is not None and error.filename == working_dir:
        if isinstance(error, PermissionError):
            return SpawnFailed(
                FailureKind.PERMISSION_DENIED, f"working_dir {working_dir!r}: {words}."
            )
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return SpawnFailed(FailureKind.FILE_NOT_FOUND, f"working_dir {working_dir!r}: {words}.")
    if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno in {
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }:
        return SpawnFailed(
            FailureKind.COMMAND_NOT_FOUND,
            f"There is no program {program!r}, or none that its first line names.",
        )
    if isinstance(error, PermissionError):
        return SpawnFailed(FailureKind.PERMISSION_DENIED, f"{program!r} cannot be run: {words}.")
    return SpawnFailed(
        FailureKind.PROCESS_SPAWN_FAILED,
        f"{program!r} could not be started: {words}.",
        retryable=False if error.errno in {errno.ENOEXEC, errno.E2BIG} else None,
    )
