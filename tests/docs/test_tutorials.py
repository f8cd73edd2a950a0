"""Every tutorial is followed to the letter, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hodei.db.embedded import server
from hodei.db.embedded.location import Location, locate
from tests.docs.tutorial import Command, WriteFile, steps
from tests.folders import open_folder
from tests.processes import ROOT, environment

PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))


@pytest.mark.no_cover
@pytest.mark.process
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_works_as_written(page: Path) -> None:
    ran = 0
    with project() as folder:
        values = variables()
        for step in steps(page):
            if isinstance(step, WriteFile):
                write(step, folder)
            elif not step.line.startswith("pip install"):
                run(step, folder, values)
                ran += 1
    assert ran > 3


@contextmanager
def project() -> Iterator[Path]:
    """An empty folder; the server that is started in it ends with it."""
    with open_folder() as opened:
        folder = opened / "project"
        folder.mkdir()
        try:
            yield folder
        finally:
            server.stop(location_in(folder))


def location_in(folder: Path) -> Location:
    return locate(folder / ".hodei")


def write(step: WriteFile, folder: Path) -> None:
    path = folder / step.path
    text = f"{path.read_text()}\n{step.text}" if step.appends else step.text
    path.write_text(text, encoding="utf-8")


def variables() -> dict[str, str]:
    """What a page installs is this checkout, and its programs are those of the tests."""
    return {
        **environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "default",
    }


def run(step: Command, folder: Path, values: dict[str, str]) -> None:
    done = subprocess.run(
        step.line,
        shell=True,
        cwd=folder,
        env=values,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    location = location_in(folder)
    if location.data.is_dir():
        # The first command has started the server and stopped it; the next one's goes on.
        location.keep.touch()
    assert done.returncode == 0, f"{step.line}\n{done.stdout}{done.stderr}"
    if step.output:
        assert done.stdout == step.output, f"{step.line}\n{done.stderr}"
