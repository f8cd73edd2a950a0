"""What the README says of a project that one has is done to one, word by word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_tutorials import run, variables
from tests.docs.tutorial import Command, WriteFile, steps
from tests.processes import ROOT

HAS = (
    "\nDATABASES = {'default': {'ENGINE': 'hodei.db.embedded', 'NAME': 'hodei', "
    "'EMBEDDED_DIRECTORY': BASE_DIR / '.hodei'}}\n"
)


@pytest.mark.no_cover
@pytest.mark.process
def test_hodei_is_added_to_a_project_as_written(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    values = variables()
    for line in ("django-admin startproject shop .", "python manage.py startapp orders"):
        run(Command(line, ""), folder, values)
    settings = folder / "shop" / "settings.py"
    settings.write_text(f"{settings.read_text()}{HAS}", encoding="utf-8")
    ran = []
    try:
        for step in steps(ROOT / "README.md"):
            if isinstance(step, WriteFile):
                path = folder / step.path
                text = f"{path.read_text()}\n{step.text}" if step.appends else step.text
                path.write_text(text, encoding="utf-8")
            elif not step.line.startswith("pip install"):
                run(step, folder, values)
                ran.append(step.line)
    finally:
        subprocess.run(
            [sys.executable, "-m", "hodei.embedded", "stop"],
            cwd=folder,
            env={**values, "HODEI_EMBEDDED_DIR": str(folder / ".hodei")},
            check=False,
        )
    assert "python manage.py jobs_worker --drain" in ran
