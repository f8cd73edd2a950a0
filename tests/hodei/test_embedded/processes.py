"""Processes that use an embedded PostgreSQL, and how to look at them from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hodei
from hodei.db.embedded import postmaster
from hodei.db.embedded.location import locate

CHECKOUT = Path(hodei.__file__).parents[1]
SECONDS = 60

#: Runs each line of standard input as SQL and answers with the first value.
USER = """
import signal, subprocess, sys
from hodei.db.embedded import binaries, ensure
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("here", flush=True)
while line := sys.stdin.readline():
    words = [binaries.default().program("psql"), ensure(sys.argv[1]).url(), "-XAtc", line]
    subprocess.run(words, check=True)
"""


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would change which database is used."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "HODEI_", "DJANGO_", "COV_")) and name != "DATABASE_URL"
    }
    return {**kept, "PYTHONPATH": str(CHECKOUT), **more}


def run(*words: str | Path, env: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Run Python with these arguments and return what it did, as text."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        **{"cwd": "/", **options},
    )


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {SECONDS} seconds for {what}"
        time.sleep(0.005)


class User:
    """A process that uses the server of this folder from its first question to its end."""

    def __init__(self, directory: Path, *, before: Sequence[str] = (), **options: Any) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", USER, str(directory)],
            env=environment(**options.pop("env", {})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **{"cwd": "/", **options},
        )
        assert self._answer() == "here"

    def send(self, statement: str = "SELECT 1") -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{statement}\n")
        self.process.stdin.flush()

    def _answer(self) -> str:
        assert self.process.stdout
        assert self.process.stderr
        line = self.process.stdout.readline()
        return line.strip() if line else self.process.stderr.read()

    answer = _answer

    def ask(self, statement: str = "SELECT 1") -> str:
        self.send(statement)
        return self._answer()

    def end(self) -> str:
        """Let it end in order, and return what it wrote to stderr."""
        _, said = self.process.communicate(timeout=SECONDS)
        return str(said)

    def finish(self) -> None:
        """Use the server and end."""
        assert self.ask() == "1"
        self.end()

    def kill(self) -> None:
        self.process.kill()
        self.end()


def postmaster_of(directory: Path) -> int | None:
    """The process of the running server; None if none runs."""
    location = locate(directory)
    found = postmaster.of(location)
    return found.pid if found and postmaster.alive(location) else None


def left_running(below: Path) -> list[int]:
    """Processes of PostgreSQL that work in this folder or below."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, folder = (entry / "comm").read_text().strip(), (entry / "cwd").readlink()
        except OSError:
            continue
        if name == "postgres" and str(folder).startswith(str(below)):
            found.append(int(entry.name))
    return found
