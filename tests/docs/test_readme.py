"""What the README says of a project that one has is done to one, word by word."""

from __future__ import annotations

import pytest

from tests.docs.test_tutorials import project, run, variables, write
from tests.docs.tutorial import Command, WriteFile, steps
from tests.processes import ROOT

HAS = (
    "\nDATABASES = {'default': {'ENGINE': 'hodei.db.embedded', 'NAME': 'hodei', "
    "'EMBEDDED_DIRECTORY': BASE_DIR / '.hodei'}}\n"
)


@pytest.mark.no_cover
@pytest.mark.process
def test_hodei_is_added_to_a_project_as_written() -> None:
    values = variables()
    ran = []
    with project() as folder:
        for line in ("django-admin startproject shop .", "python manage.py startapp orders"):
            run(Command(line, ""), folder, values)
        settings = folder / "shop" / "settings.py"
        settings.write_text(f"{settings.read_text()}{HAS}", encoding="utf-8")
        for step in steps(ROOT / "README.md"):
            if isinstance(step, WriteFile):
                write(step, folder)
            elif not step.line.startswith("pip install"):
                run(step, folder, values)
                ran.append(step.line)
    assert "python manage.py jobs_worker --drain" in ran
