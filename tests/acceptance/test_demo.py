"""``make demo``: shows a job outlive its worker, leaves nothing behind, and ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.processes import ROOT, environment, eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]


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


def left_behind(folder: Path, role: str) -> list[str]:
    """Databases of this role; folders and processes of demos in this folder for temporary files."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datdba = %s::regrole", [role])
        found = [name for (name,) in cursor.fetchall()]
    mark = f"TMPDIR={folder}".encode()
    found += [path.name for path in folder.glob("hodei-demo-*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture
def role(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """A role that may make databases, and has none: others of the server are not its."""
    name = f"hodei_test_{uuid.uuid4().hex[:12]}"
    with django_db_blocker.unblock():
        with connections["default"].cursor() as cursor:
            password = connections["default"].settings_dict["PASSWORD"]
            cursor.execute(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD %s", [password or None])
        yield name
        with connections["default"].cursor() as cursor:
            cursor.execute(f"DROP ROLE {name}")
        connections["default"].close()


@pytest.fixture
def server(role: str) -> str:
    """The server of the tests, for this role."""
    settings = connections["default"].settings_dict
    return (
        f"postgresql://{role}:{settings['PASSWORD'] or ''}@/postgres"
        f"?host={settings['HOST']}&port={settings['PORT']}"
    )


def test_a_job_outlives_its_worker_and_nothing_is_left(
    tmp_path: Path, role: str, server: str
) -> None:
    process = demo(DATABASE_URL=server, TMPDIR=str(tmp_path))
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
    assert left_behind(tmp_path, role) == []


def test_interrupted_it_leaves_nothing_either(tmp_path: Path, role: str, server: str) -> None:
    process = demo(DATABASE_URL=server, TMPDIR=str(tmp_path))
    assert eventually(lambda: any(tmp_path.glob("hodei-demo-*/workers/*.json")), 60)
    os.kill(process.pid, signal.SIGINT)

    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert left_behind(tmp_path, role) == []


def test_a_database_that_is_not_there_is_said_in_one_line() -> None:
    process = demo(DATABASE_URL="postgresql://u@127.0.0.1:1/n")
    told, errors = process.communicate(timeout=60)

    assert process.returncode == 3
    assert told == ""
    assert len(errors.splitlines()) == 1
    assert "The database cannot be used" in errors
