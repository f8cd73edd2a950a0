"""The emergency reset through PgBouncer, whichever way it pools: one at a time, or refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.schema.history import read_runs
from hodei.schema.service import MigrationService
from tests.databases import HERE
from tests.pooler import pgbouncer
from tests.processes import ROOT, eventually

pytestmark = pytest.mark.process

GATE = 42
#: Where a migration waits until the test lets it on, however long that takes.
HELD_UP = f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({GATE})"
LIMITS = ("lock_timeout", "statement_timeout", "search_path", "idle_in_transaction_session_timeout")

Start = Callable[..., "Process"]


class Process:
    """A command that is running; what it says goes into a file."""

    def __init__(self, path: Path, words: tuple[str, ...], environment: dict[str, str]) -> None:
        self._path = path
        with path.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "django", *words],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._path.read_text()

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait(60)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def depot(applied: Callable[..., str]) -> str:
    """The alias of a database with two apps, past any pooler."""
    return applied("depot", "hauler")


@pytest.fixture(params=["transaction", pytest.param("session", marks=pytest.mark.slow)])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def through(depot: str, mode: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The same database through the pooler."""
    settings = connections[depot].settings_dict
    keys = ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD")
    with pgbouncer({key: settings[key] for key in keys}, mode, tmp_path) as pooled:
        yield pooled


@pytest.fixture
def start(through: dict[str, Any], tmp_path: Path) -> Iterator[Start]:
    """A function that starts a command, behind the pooler."""
    started: list[Process] = []
    # The embedded engine has a pg_dump of its own, and is not told of it by these settings.
    default = connections["default"]
    psql = default.client_class.settings_to_cmd_args_env(default.settings_dict, [])[0][0]
    programs = os.pathsep.join([str(Path(psql).parent), os.environ["PATH"]])

    def run(*words: str, **variables: str) -> Process:
        environment = {
            **os.environ,
            "PATH": programs,
            "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
            "PYTHONPATH": str(ROOT),
            "SCHEMA_TEST_DATABASES": json.dumps({"default": through}),
            "SCHEMA_TEST_APPS": "tests.schema.apps.depot tests.schema.apps.hauler",
            "SCHEMA_TEST_ALLOW_RESET": "1",
            **variables,
        }
        started.append(Process(tmp_path / f"said_{len(started)}", words, environment))
        return started[-1]

    yield run
    for process in started:
        process.kill()


@contextmanager
def session(database: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(
        dbname=database["NAME"],
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=database["PASSWORD"],
        autocommit=True,
    ) as connection:
        yield connection


def tables(alias: str) -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT oid, relname FROM pg_class WHERE relname ~ '^depot_' ORDER BY oid")
        found: list[Any] = cursor.fetchall()
    return found


def check_nothing_is_left(direct: psycopg.Connection[Any], through: dict[str, Any]) -> None:
    """No lock, and nobody's limits in whichever of the pool's sessions one gets."""
    advisory = f"SELECT FROM pg_locks WHERE locktype = 'advisory' AND {HERE}"
    assert eventually(lambda: direct.execute(advisory).fetchall() == [])
    asked = ", ".join(f"current_setting('{name}')" for name in LIMITS)
    usual = direct.execute(f"SELECT {asked}").fetchone()
    (number,) = direct.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    ).fetchone() or (0,)
    with ExitStack() as stack:
        for _ in range(number):
            one = stack.enter_context(session(through))
            one.execute("BEGIN")
            assert one.execute(f"SELECT {asked}").fetchone() == usual


def test_one_after_another_and_nothing_is_left(
    depot: str, through: dict[str, Any], start: Start
) -> None:
    words = ["schema_reset", "--confirm", through["NAME"], "--no-backup"]
    with session(connections[depot].settings_dict) as direct:
        direct.execute(f"SELECT pg_advisory_lock({GATE})")
        first = start(*words, DEPOT_SQL=HELD_UP)
        held_up = (
            f"SELECT FROM pg_locks WHERE locktype = 'advisory' AND {HERE} AND objid = {GATE} "
            "AND NOT granted"
        )
        assert eventually(lambda: direct.execute(held_up).fetchall() != []), first.said
        second, third = start(*words), start("migrate", "-v0")
        for waiting in (second, third):
            assert eventually(lambda one=waiting: "waiting for another migrate" in one.said)
        assert [one.code for one in (first, second, third)] == [None, None, None]
        direct.execute(f"SELECT pg_advisory_unlock({GATE})")

        for one in (first, second, third):
            assert one.wait() == 0, one.said
        assert "Reset: 2 tables with 2 rows dropped, 3 migrations run." in second.said
        runs = read_runs(depot, app="depot")
        assert {run.outcome for run in runs} == {"ok", "reset"}
        # Whatever ran is together, and nothing of another one in between.
        assert [len(list(group)) for _, group in groupby(run.batch for run in runs)] == [6, 6, 3]
        assert MigrationService(depot).validate().is_valid
        check_nothing_is_left(direct, through)


def test_a_backup_is_made_or_refused(
    depot: str, through: dict[str, Any], start: Start, tmp_path: Path, mode: str
) -> None:
    """pg_dump empties the search_path of a session that others may get next."""
    before, path = tables(depot), tmp_path / "b.dump"
    reset = start("schema_reset", "--confirm", through["NAME"], "--backup", str(path))
    code = reset.wait()

    if mode == "session":
        assert code == 0, reset.said
        assert path.exists()
    else:
        assert code == 3, reset.said
        assert "goes through a pooler that gives each transaction another session" in reset.said
        assert "--no-backup" in reset.said
        assert not path.exists()
        assert tables(depot) == before
    with session(connections[depot].settings_dict) as direct:
        check_nothing_is_left(direct, through)
