"""Systems of others to compare with, each in an environment of its own.

A peer is installed by the benchmark that uses it, once, into ``.hodei/bench/peers``. One that
cannot be installed or run is reported with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".hodei" / "bench" / "peers"
INSTALL_SECONDS, RUN_SECONDS = 300, 240
#: Characters of a reason, at most.
REASON = 300


class PeerMissing(Exception):  # noqa: N818  (it reads as the fact it states)
    """It could not be installed or run; the text says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A package, and the script beside this file that runs it."""

    package: str
    version: str
    script: str
    oldest_python: tuple[int, int] = (3, 11)
    beside: tuple[str, ...] = ("django>=5.2,<6.1", "psycopg[binary,pool]")
    extras: str = ""

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.package}-{self.version}"

    def install(self) -> str:
        """Return the interpreter that has it. Raises PeerMissing."""
        interpreter = str(self.folder / "bin" / "python")
        if (self.folder / "complete").exists():
            return interpreter
        shutil.rmtree(self.folder, ignore_errors=True)
        base = newer_python(self.oldest_python)
        wanted = (f"{self.package}{self.extras}=={self.version}", *self.beside)
        run(base, "-m", "venv", str(self.folder))
        run(interpreter, "-m", "pip", "install", "--quiet", *wanted)
        (self.folder / "complete").touch()
        return interpreter

    def measure(self, url: str, *words: str | int) -> dict[str, Any]:
        """Run its script on that database; returns what it printed last. Raises PeerMissing."""
        said = run(self.install(), str(HERE / self.script), url, *map(str, words))
        try:
            found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        except (IndexError, ValueError) as error:
            raise PeerMissing(f"It printed no result but {said[-200:]!r}.") from error
        return found


@dataclass(frozen=True, slots=True)
class NodePeer(Peer):
    """The same of npm: ``beside`` is what is installed beside it."""

    def install(self) -> str:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            raise PeerMissing("It needs node and npm, and they were not found.")
        if not (self.folder / "complete").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            wanted = (f"{self.package}@{self.version}", *self.beside)
            words = ("install", "--no-audit", "--no-fund", "--silent", "--prefix")
            run(npm, *words, str(self.folder), *wanted)
            (self.folder / "complete").touch()
        # Its script stands elsewhere than its packages.
        os.environ["NODE_PATH"] = str(self.folder / "node_modules")
        return node


def newer_python(oldest: tuple[int, int]) -> str:
    """This interpreter, or another that is new enough. Raises PeerMissing."""
    if sys.version_info[:2] >= oldest:
        return sys.executable
    names = [f"python3.{minor}" for minor in range(14, oldest[1] - 1, -1)]
    found = [path for path in map(shutil.which, names) if path]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found += [str(path) for name in names for path in pyenv.glob(f"{name[6:]}.*/bin/python")]
    for path in found:
        if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    raise PeerMissing(f"It needs Python {oldest[0]}.{oldest[1]}, and none was found.")


def run(*words: str) -> str:
    seconds = INSTALL_SECONDS if "install" in words else RUN_SECONDS
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "PYTHON"))
    }
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds, env=clean, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"{words[0]}: {error}") from error
    if done.returncode:
        told = [line.strip(" ^~") for line in (done.stderr or done.stdout).splitlines()]
        said = " / ".join([line for line in told if line][-2:])
        raise PeerMissing(said[-REASON:] or f"{words[0]} ended with {done.returncode}")
    return done.stdout
