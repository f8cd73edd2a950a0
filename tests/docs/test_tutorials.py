"""Every tutorial is followed to the letter, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.tutorial import Command, WriteFile, steps
from tests.processes import ROOT, environment

PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))


@pytest.mark.no_cover
@pytest.mark.process
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_works_as_written(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    values = variables()
    ran = 0
    try:
        for step in steps(page):
            if isinstance(step, WriteFile):
                path = folder / step.path
                text = f"{path.read_text()}\n{step.text}" if step.appends else step.text
                path.write_text(text, encoding="utf-8")
                continue
            if step.line.startswith("pip install"):
                continue
            ran += 1
            run(step, folder, values)
    finally:
        subprocess.run(
            [sys.executable, "-m", "hodei.embedded", "stop"],
            cwd=folder,
            env={**values, "HODEI_EMBEDDED_DIR": str(folder / ".hodei")},
            check=False,
        )
    assert ran > 3


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
    assert done.returncode == 0, f"{step.line}\n{done.stdout}{done.stderr}"
    if step.output:
        assert done.stdout == step.output, f"{step.line}\n{done.stderr}"
