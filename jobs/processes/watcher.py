"""The guard's own process: waits for the end of a worker, and ends what the worker ran.

It is started by path, isolated and without site-packages, so it uses the standard library alone and
takes some milliseconds and megabytes. It reads lines on stdin and knows from them which groups of
processes, runs and folders there are (``+group 123``, ``-group 123``). The end of stdin is the end
of the worker, however that came about: the kernel closes the pipe of a process that was killed.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Looks at the process table before it gives up: what is killed may have forked meanwhile.
MOST_LOOKS = 20


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Signal a group of processes, if there is one."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill_marked(mark: bytes) -> int:
    """Kill every process of ours that was started with this variable (``NAME=value`` and its NUL),
    wherever it went; returns how many. Does nothing where there is no /proc."""
    killed = 0
    for _ in range(MOST_LOOKS):
        found = list(_marked(mark))
        if not found:
            break
        killed += len(found)
        for process in found:
            _kill(process, mark)
    return killed


def _marked(mark: bytes) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        process = int(entry.name)
        if process != os.getpid() and _has(process, mark):
            yield process


def _has(process: int, mark: bytes) -> bool:
    try:
        variables = Path(f"/proc/{process}/environ").read_bytes()
    except OSError:
        return False
    return variables.startswith(mark) or b"\0" + mark in variables


def _kill(process: int, mark: bytes) -> None:
    with suppress(OSError):
        # A number may be given anew between the look and the signal; a descriptor is not.
        handle = os.pidfd_open(process)
        try:
            if _has(process, mark):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def watch(variable: bytes) -> None:
    """Read what there is, until the worker is gone, and end it. ``variable`` marks processes."""
    worker = os.getppid()
    there: set[bytes] = set()
    buffer = b""
    while True:
        # A fork of the worker may hold the pipe open, so that is looked at, too.
        ready, _, _ = select.select([0], [], [], 1.0)
        chunk = os.read(0, 65536) if ready else None
        if chunk == b"" or os.getppid() != worker:
            break
        *lines, buffer = (buffer + (chunk or b"")).split(b"\n")
        for line in lines:
            (there.add if line[:1] == b"+" else there.discard)(line[1:])
    # Folders when nobody is left in them.
    for entry in sorted(there, key=lambda entry: entry.startswith(b"folder")):
        end(entry, variable)


def end(entry: bytes, variable: bytes) -> None:
    """End one thing that the worker has left: ``group 123``, ``run MARK`` or ``folder /path``."""
    kind, _, rest = entry.partition(b" ")
    match kind:
        case b"group":
            kill_group(int(rest))
        case b"run":
            kill_marked(variable + b"=" + rest + b"\0")
        case b"folder":
            shutil.rmtree(os.fsdecode(rest), ignore_errors=True)


if __name__ == "__main__":
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    watch(os.fsencode(sys.argv[1]))
