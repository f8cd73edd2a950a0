"""What tasks do: they leave a mark in a file, so that one process sees what another has run."""

from __future__ import annotations

import os
import time
from typing import Any

_files: dict[tuple[int, str], int] = {}


def append(name: str, data: bytes) -> None:
    key = (os.getpid(), name)
    if key not in _files:
        path = f"{os.environ['PEER_FOLDER']}/{name}"
        _files[key] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_files[key], data)


def noop(**payload: Any) -> None:
    append("ran", b"x")


def clock(at: float, **payload: Any) -> None:
    append("clock", f"{time.perf_counter() - at}\n".encode())
