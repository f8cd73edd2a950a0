"""Runs a function in a process of its own, which can be killed.

The process is a new interpreter, and no fork: a fork of a process with threads and connections has
a copy of locks that nobody will ever release, and of sockets that are somebody else's. It costs
what it takes to start Django, a few tenths of a second; it is for runs beside which that is little.

Its group is killed whole, when its time is over and when it is to stop; and it ends itself when the
worker is gone, since another will run its job again.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import IO, Any

from django.conf import ENVIRONMENT_VARIABLE

from jobs.executors import wire
from jobs.runs import Cancelled, Failed, Outcome, Run, TimedOut, after
from jobs.states import FailureKind

#: Bytes of an answer; more than what is kept of a result and of a traceback together.
LARGEST_ANSWER = 8 * 1024 * 1024
#: Seconds that a process has to end after it has answered.
PATIENCE = 5.0
#: Seconds between two looks at whether it is to stop.
LOOK = 1.0


def run_isolated(run: Run) -> Outcome:
    """Run it, and return what came of it."""
    if not os.environ.get(ENVIRONMENT_VARIABLE):
        return Failed(
            FailureKind.CONFIGURATION_ERROR,
            "A process of its own needs settings that are a module: DJANGO_SETTINGS_MODULE.",
        )
    reads, writes = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            [sys.executable, "-m", "jobs.executors.child", str(writes)],
            stdin=subprocess.PIPE,
            pass_fds=[writes],
            start_new_session=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
        )
    except OSError as error:
        os.close(reads)
        return Failed(FailureKind.PROCESS_SPAWN_FAILED, f"No process could be started: {error}.")
    finally:
        os.close(writes)
    try:
        run.on_stop(lambda: _kill(process))
        _tell(process.stdin, run)
        answer, in_time = _read(reads, run)
        if answer is not None and not run.stopping.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
        # Also what it has left behind: nobody would ever end it.
        _kill(process)
        code = process.wait()
    finally:
        os.close(reads)
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
    if answer is not None:
        return wire.decode(json.loads(answer))
    if run.stopping.is_set():
        return Cancelled()
    if not in_time:
        return TimedOut(f"Its time was over{after(run)}, and it was killed.")
    return _died(code)


def _tell(stdin: IO[bytes] | None, run: Run) -> None:
    job: dict[str, Any] = run.job._asdict()
    told = {
        "job": job,
        "worker": run.worker_id,
        "using": run.using,
        "deadline": run.deadline,
    }
    if stdin is None:
        return
    # One that has died already is found out by its silence.
    with contextlib.suppress(BrokenPipeError):
        stdin.write(json.dumps(told, default=str).encode() + b"\n")
        stdin.flush()


def _read(reads: int, run: Run) -> tuple[bytes | None, bool]:
    """The line that it answers with, or None; and whether that was before the deadline."""
    found = bytearray()
    poll = select.poll()
    poll.register(reads, select.POLLIN | select.POLLHUP)
    while len(found) <= LARGEST_ANSWER:
        left = LOOK if run.deadline is None else run.deadline - time.monotonic()
        if left <= 0:
            return None, False
        if not poll.poll(min(left, LOOK) * 1000):
            # Usually its end wakes us; a process that it has started may hold the pipe open.
            if run.stopping.is_set():
                return None, True
            continue
        chunk = os.read(reads, 65_536)
        if not chunk:
            return None, True
        found += chunk
        if found.endswith(b"\n"):
            return bytes(found), True
    return None, True


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Its id is its group's, and stays taken until it is waited for or the group is empty.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _died(code: int) -> Failed:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return Failed(FailureKind.SIGNAL_RECEIVED, f"Its process was ended by {name}.")
    return Failed(
        FailureKind.NON_ZERO_EXIT_CODE, f"Its process ended with exit code {code} and no answer."
    )
