"""Brokers of a test's own, for what must not be done to one that others use."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.processes import eventually


@contextmanager
def private_server(
    broker: str, program: str, *arguments: str, port: int | None = None
) -> Iterator[int]:
    """Run a server with ``{port}`` put into its arguments; yields the port, a free one if not
    given."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if found is None:
        if broker in os.environ.get("HODEI_REQUIRE", "").split(","):
            pytest.fail(f"HODEI_REQUIRE names {broker}, and {program} is not installed.")
        pytest.skip(f"{program} is not installed")
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    words = [word.format(port=port) for word in arguments]
    process = subprocess.Popen(
        [found, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert eventually(lambda: answers(port))
        yield port
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
