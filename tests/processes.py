"""Processes of the project, in an environment that the test decides."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Variables that would decide what a test wants to decide.
OURS = (
    *("DATABASE_URL", "DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "HODEI_EMBEDDED", "SAMPLE"),
    *("HODEI_EMBEDDED_DIR", "DJANGO_SETTINGS_MODULE", "DJANGO_ALLOW_ASYNC_UNSAFE"),
    *("HODEI_EMBEDDED_TOLD", "HODEI_JOB_LOGS_DIR"),
)


def environment(**values: str) -> dict[str, str]:
    """The environment of a new user, and these variables; empty ones keep .env out."""
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    return {
        **inherited,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": "",
        "DEBUG": "",
        "SECRET_KEY": "",
        **values,
    }


def manage(*words: str, **values: str) -> subprocess.CompletedProcess[str]:
    """Run a management command to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environment(**values),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Poll until the condition holds or the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
