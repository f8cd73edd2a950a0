"""A database at head for each test, and processes of the project on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.databases import new_database
from tests.faults import runs
from tests.faults.scene import Scene
from tests.processes import ROOT, environment

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def head(django_db_setup: dict[str, Any]) -> dict[str, Any]:
    """A database with every migration, to be copied."""
    return django_db_setup


@pytest.fixture
def database(head: dict[str, Any], django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A copy of it, in Django's terms."""
    with django_db_blocker.unblock(), new_database(head["NAME"]) as database:
        yield database


@pytest.fixture
def session(database: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    """A connection to it, in autocommit."""
    with psycopg.connect(**connection_of(database), autocommit=True) as connection:
        yield connection


def connection_of(database: dict[str, Any]) -> dict[str, Any]:
    """A database in psycopg's terms."""
    return {
        "host": database["HOST"],
        "port": database["PORT"],
        "user": database["USER"],
        "password": database["PASSWORD"],
        "dbname": database["NAME"],
    }


@pytest.fixture
def start(database: dict[str, Any]) -> Iterator[Start]:
    """A function that starts a management command in a process; all are killed at the end."""
    with ExitStack() as stack:

        def started(
            *words: str,
            outbox: dict[str, Any] | None = None,
            through: dict[str, Any] | None = None,
            variables: dict[str, str] | None = None,
            patches: dict[str, Any] | None = None,
            errors: Path | None = None,
        ) -> subprocess.Popen[str]:
            stderr = stack.enter_context(errors.open("ab")) if errors else subprocess.PIPE
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.program", *words],
                cwd=ROOT,
                env=environment(
                    DJANGO_SETTINGS_MODULE="tests.faults.settings",
                    FAULTS_DATABASE=json.dumps(through or database),
                    FAULTS_OUTBOX=json.dumps(outbox or {}),
                    FAULTS_PATCHES=json.dumps(patches or {}),
                    **(variables or {}),
                ),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
            stack.callback(end, process)
            return process

        yield started


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def scene(session: psycopg.Connection[Any], start: Start, tmp_path: Path) -> Scene:
    return Scene(session, start, tmp_path / "journal")


Worker = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """What runs of ``noting`` write into."""
    return tmp_path / "journal"


@pytest.fixture
def noting(start: Start, journal: Path, tmp_path: Path) -> Worker:
    """A function that starts a worker of such jobs, with short leases; ``session`` counts what
    becomes of them."""

    def started(
        *words: str,
        variables: dict[str, str] | None = None,
        patches: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        **options: Any,
    ) -> subprocess.Popen[str]:
        return start(
            *("jobs_worker", "--poll", "0.2", *words),
            variables={
                "FAULTS_JOURNAL": str(journal),
                "FAULTS_SETTINGS": json.dumps({**runs.SETTINGS, **(settings or {})}),
                "HODEI_JOB_LOGS_DIR": str(tmp_path / "logs"),
                **(variables or {}),
            },
            patches={**runs.SHORT_LEASES, **(patches or {})},
            errors=tmp_path / "errors",
            **options,
        )

    return started
