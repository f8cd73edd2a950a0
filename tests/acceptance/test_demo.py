"""``make demo``: shows a job outlive its worker, leaves nothing behind, and ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.processes import ROOT, environment, eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]

DATABASES = "SELECT count(*) FROM pg_database WHERE datname LIKE 'hodei_demo_%'"


def server() -> str:
    settings = connections["default"].settings_dict
    return (
        f"postgresql://{settings['USER']}:{settings['PASSWORD'] or ''}@/postgres"
        f"?host={settings['HOST']}&port={settings['PORT']}"
    )


def demo(**values: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hodei.demo"],
        cwd=ROOT,
        env=environment(**values),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def left_behind(folder: Path) -> list[str]:
    """Folders, databases and processes of demos in this folder for temporary files."""
    with connections["default"].cursor() as cursor:
        cursor.execute(DATABASES)
        (databases,) = cursor.fetchone()
    mark = f"TMPDIR={folder}".encode()
    found = [f"{databases} databases"] if databases else []
    found += [path.name for path in folder.glob("hodei-demo-*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture
def folder(tmp_path: Path, django_db_setup: None, django_db_blocker: Any) -> Any:
    with django_db_blocker.unblock():
        connections["default"].ensure_connection()
        yield tmp_path
        connections["default"].close()


def test_a_job_outlives_its_worker_and_nothing_is_left(folder: Path) -> None:
    process = demo(DATABASE_URL=server(), TMPDIR=str(folder))
    told, errors = process.communicate(timeout=120)

    assert process.returncode == 0, told + errors
    assert errors == ""
    lines = told.splitlines()
    for words in (
        "is killed (SIGKILL)",
        "Another worker has it",
        "step 8 of 8",
        "EXECUTION     COMPLETED",
        "PROVISIONING  COMPLETED",
        "RECOVERY      COMPLETED",
    ):
        assert any(words in line for line in lines), told
    assert left_behind(folder) == []


def test_interrupted_it_leaves_nothing_either(folder: Path) -> None:
    process = demo(DATABASE_URL=server(), TMPDIR=str(folder))
    assert eventually(lambda: any(folder.glob("hodei-demo-*/workers/*.json")), 60)
    os.kill(process.pid, signal.SIGINT)

    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert left_behind(folder) == []


def test_a_database_that_is_not_there_is_said_in_one_line() -> None:
    process = demo(DATABASE_URL="postgresql://u@127.0.0.1:1/n")
    told, errors = process.communicate(timeout=60)

    assert process.returncode == 3
    assert told == ""
    assert len(errors.splitlines()) == 1
    assert "The database cannot be used" in errors
