from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hodei.db.embedded import binaries, server
from hodei.db.embedded.location import closed_to, locate
from tests.folders import open_folder
from tests.hodei.test_embedded.processes import CHECKOUT, User, left_running


@pytest.fixture(autouse=True)
def _installed() -> None:
    if not binaries.bundled():
        pytest.skip("needs hodei[embedded]")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike tmp_path; nothing may run in it afterwards."""
    with open_folder() as path:
        yield path
        left = left_running(path)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert not left, f"processes of PostgreSQL were left running: {left}"


@pytest.fixture
def directory(folder: Path) -> Iterator[Path]:
    """The folder of a server, not made yet."""
    yield folder / "pg"
    shutil.rmtree(locate(folder / "pg").sockets, ignore_errors=True)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> Iterator[Callable[..., User]]:
    """Makes users of the server, and ends those that the test left, newest first.

    Their folder is the one that the test asked for, else one that is not made yet.
    """
    made: list[User] = []
    named = {"made", "mine"} & {*request.fixturenames}
    default: Path = request.getfixturevalue(named.pop() if named else "directory")

    def make(where: Path = default, **options: Any) -> User:
        made.append(User(where, **options))
        return made[-1]

    yield make
    for one in reversed(made):
        one.process.communicate()


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def as_nobody(as_root: None, open_programs: Path | None) -> list[str]:
    """The words before a command that make it a normal user's."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv")
    words = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
    if any(closed_to(None, Path(path)) for path in (sys.prefix, sys.base_prefix, CHECKOUT)):
        # Python itself lies where only root may enter. This lets the user read it, and write
        # nothing more than before.
        words += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    if open_programs:
        words += ["env", f"PYTHONPATH={open_programs}{os.pathsep}{CHECKOUT}"]
    return words


@pytest.fixture(scope="session")
def open_programs() -> Iterator[Path | None]:
    """PostgreSQL's programs where a normal user can run them, if the installed ones are closed."""
    installed = binaries.default()
    if not closed_to(None, installed.folder):
        yield None
        return
    with open_folder() as path:
        binaries.copy_programs(installed, installed.folder.parents[1], path / "wheel")
        (path / "wheel" / binaries.PACKAGE / "__init__.py").touch()
        yield path / "wheel"


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    with open_folder() as path:
        User(path / "pg").finish()
        yield path / "pg"


@pytest.fixture
def made(shared: Path) -> Iterator[Path]:
    """The folder of a server that has its data, for tests that leave it as it is."""
    yield shared
    left = left_running(shared)
    server.stop(locate(shared))
    (shared / "keep").unlink(missing_ok=True)
    assert not left, f"processes of PostgreSQL were left running: {left}"


@pytest.fixture
def mine(directory: Path, shared: Path) -> Path:
    """The folder of a server that has its data, for tests that spoil it."""
    subprocess.run(["cp", "-Rp", shared, directory], check=True)
    return directory
