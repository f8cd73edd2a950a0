"""The pictures of the documentation can be taken at any time, from what the project is now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.processes import ROOT, environment

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

SHOWN = ROOT / "docs" / "images"
PNG = b"\x89PNG\r\n\x1a\n"


def test_all_that_the_documentation_shows_are_taken(tmp_path: Path, browser: Browser) -> None:
    # Where tests have a browser, the script has it, too.
    assert browser.is_connected()
    asked = ("DATABASE_URL", "HODEI_EMBEDDED_DIR")
    server = {name: os.environ[name] for name in asked if name in os.environ}

    done = subprocess.run(
        [sys.executable, "scripts/screenshots.py", "--directory", str(tmp_path)],
        cwd=ROOT,
        env=environment(SECRET_KEY="k" * 60, **server),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in SHOWN.iterdir()}
    assert all(path.read_bytes().startswith(PNG) for path in tmp_path.iterdir())
