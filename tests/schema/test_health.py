"""The addresses for probes: by Django's client, and from a server that runs."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

# Before a test takes the apps away that this one and the URLs need when they are imported.
import django.contrib.auth.middleware  # noqa: F401
import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

import hodei.urls  # noqa: F401
from hodei.schema import health
from hodei.schema.health import HealthMonitor
from tests.databases import HERE, new_database
from tests.processes import ROOT, environment, eventually
from tests.processes import manage as project
from tests.schema.proxy import Proxy

Install = Callable[..., None]
PAGE = ROOT / "docs" / "reference" / "health.md"


@pytest.fixture(autouse=True)
def monitor(monkeypatch: pytest.MonkeyPatch) -> HealthMonitor:
    """One that has seen nothing yet."""
    found = HealthMonitor(patience=0.2)
    monkeypatch.setattr(health, "monitor", found)
    return found


@pytest.fixture
def probed(scratch: str, install: Install, settings: Any) -> str:
    """The alias of a migrated database, the one that probes ask about."""
    install("ledger")
    call_command("migrate", database=scratch, verbosity=0)
    settings.HODEI_HEALTH_DATABASES = [scratch]
    settings.HODEI_HEALTH_CACHE_SECONDS = 0
    return scratch


class Content(HealthMonitor):
    """One that finds every database ready, and asks none."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, float]] = []

    def look(self, using: str, keep_seconds: float) -> health.DatabaseHealth:
        self.asked.append((using, keep_seconds))
        return health.DatabaseHealth(database=using, reachable=True, pending=0)


def answer(path: str = "/health/ready", code: int = 200, **options: Any) -> Any:
    response = Client().get(path, **options)
    assert response.status_code == code, response.content
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    return response.json()


def reason(path: str = "/health/ready") -> str:
    """Why it is not ready."""
    (found,) = answer(path, 503)["databases"]
    return str(found["reason"])


class TestLive:
    def test_answers_without_a_database(self) -> None:
        # Outside of a test with a database Django lets no query through.
        assert answer("/health/live") == {"status": "alive"}

    def test_opens_no_transaction(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

        assert answer("/health/live") == {"status": "alive"}


class TestReady:
    def test_a_schema_as_it_should_be(self, probed: str) -> None:
        assert answer() == {
            "status": "ready",
            "databases": [
                {
                    "database": probed,
                    "reachable": True,
                    "pending": 0,
                    "reason": None,
                    "warnings": [],
                }
            ],
        }

    def test_pending_migrations(self, probed: str) -> None:
        MigrationRecorder(connections[probed]).record_unapplied("ledger", "0003_amount")

        found = answer(code=503)

        assert found["status"] == "not ready"
        assert found["databases"] == [
            {
                "database": probed,
                "reachable": True,
                "pending": 1,
                "reason": "migrations are pending",
                "warnings": [],
            }
        ]

    def test_a_newer_migration_is_a_warning(self, probed: str) -> None:
        MigrationRecorder(connections[probed]).record_applied("ledger", "0009_newer")

        found = answer()

        assert found["status"] == "ready"
        assert found["databases"][0]["warnings"] == ["1 migration applied that this code lacks"]

    def test_every_database_counts(self, probed: str, settings: Any) -> None:
        settings.HODEI_HEALTH_DATABASES = [probed, "elsewhere"]

        found = answer(code=503)

        assert found["status"] == "not ready"
        assert [one["reason"] for one in found["databases"]] == [None, "not in DATABASES"]

    def test_without_the_setting_it_is_the_default_one(self, settings: Any) -> None:
        health.monitor = content = Content()

        answer()

        assert content.asked == [("default", 1.0)]

    def test_no_secret_is_told(
        self, point_alias: Callable[..., str], database: dict[str, Any], settings: Any
    ) -> None:
        alias = point_alias(database, NAME="hodei_no_such", PASSWORD="topsecret")
        settings.HODEI_HEALTH_DATABASES = [alias]

        text = json.dumps(answer(code=503))

        assert "no such database" in text
        for secret in ("hodei_no_such", "topsecret", database["USER"], database["HOST"]):
            assert secret not in text

    def test_what_cannot_be_read(self, probed: str) -> None:
        with connections[probed].cursor() as cursor:
            cursor.execute("SET ROLE pg_monitor")

        assert reason() == "cannot be read"

    def test_files_without_a_graph(self, probed: str, install: Install) -> None:
        install("orphaned")

        assert reason() == "cannot be verified"

    def test_a_migration_that_cannot_be_imported(
        self,
        probed: str,
        settings: Any,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        (tmp_path / "spoilt").mkdir()
        (tmp_path / "spoilt" / "__init__.py").write_text("")
        (tmp_path / "spoilt" / "0001_initial.py").write_text("raise RuntimeError('spoilt')")
        monkeypatch.syspath_prepend(tmp_path)
        settings.MIGRATION_MODULES = {"contenttypes": "spoilt"}

        assert reason() == "the check failed"
        assert "health check failed" in caplog.text

    def test_every_key_is_documented(self, probed: str) -> None:
        text = PAGE.read_text()
        found = answer()

        for key in [*found, *found["databases"][0]]:
            assert f"`{key}`" in text

    def test_a_database_that_was_never_migrated(self, probed: str) -> None:
        with connections[probed].cursor() as cursor:
            cursor.execute("DROP TABLE django_migrations")

        assert reason() == "migrations are pending"


class TestRequests:
    @pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
    def test_head_is_answered_alike_and_empty(self, probed: str, path: str) -> None:
        response = Client().head(path)

        assert response.status_code == 200
        assert response.content == b""

    @pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
    def test_nothing_can_be_sent(self, path: str) -> None:
        assert Client().post(path).status_code == 405

    @pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
    def test_it_is_not_sent_to_https(self, probed: str, settings: Any, path: str) -> None:
        settings.SECURE_SSL_REDIRECT = True

        assert Client().get(path).status_code == 200
        assert Client().get("/admin/login/").status_code == 301
        assert Client().get(f"{path}ing").status_code == 301

    @pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
    def test_no_login_is_asked_for(
        self, settings: Any, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "monitor", Content())
        settings.MIDDLEWARE = [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ]

        assert Client().get(path).status_code == 200
        assert Client().get("/").status_code == 302

    def test_the_host_is_judged_by_djangos_rule(self, settings: Any) -> None:
        settings.ALLOWED_HOSTS = ["jobs.example.com"]

        assert Client().get("/health/live", headers={"host": "10.0.0.7"}).status_code == 400
        assert Client().get("/health/live", headers={"host": "jobs.example.com"}).status_code == 200


class TestMonitor:
    def test_a_look_is_kept_for_as_long_as_it_is_asked(
        self, probed: str, monitor: HealthMonitor
    ) -> None:
        assert monitor.look(probed, keep_seconds=60).is_ready
        MigrationRecorder(connections[probed]).record_unapplied("ledger", "0003_amount")

        assert monitor.look(probed, keep_seconds=60).is_ready
        assert not monitor.look(probed, keep_seconds=0).is_ready
        assert not monitor.look(probed, keep_seconds=60).is_ready

    def test_one_looks_while_the_others_wait_and_give_up(
        self, probed: str, monitor: HealthMonitor
    ) -> None:
        locker = connections[probed].copy()
        locker.set_autocommit(False)
        found: list[health.DatabaseHealth] = []

        def probe() -> None:
            found.append(monitor.look(probed, keep_seconds=0))
            connections[probed].close()

        try:
            with locker.cursor() as cursor:
                cursor.execute("LOCK TABLE django_migrations")
            first = threading.Thread(target=probe)
            first.start()
            assert eventually(lambda: waits_for_a_lock(probed))

            second = monitor.look(probed, keep_seconds=0)
        finally:
            locker.rollback()
            locker.close()
        first.join(30)

        assert second.reason == "an earlier check has no answer yet"
        assert [one.reason for one in found] == [None]

    def test_changes_are_logged_once_and_with_their_details(
        self, probed: str, monitor: HealthMonitor, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="hodei.schema.health")
        recorder = MigrationRecorder(connections[probed])
        monitor.look(probed, 0)
        recorder.record_unapplied("ledger", "0003_amount")
        monitor.look(probed, 0)
        monitor.look(probed, 0)
        recorder.record_applied("ledger", "0003_amount")
        monitor.look(probed, 0)

        assert [record.getMessage() for record in caplog.records] == [
            "not ready database=scratch reason=migrations are pending: ledger.0003_amount",
            "ready again database=scratch",
        ]


def waits_for_a_lock(alias: str) -> bool:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM pg_locks WHERE {HERE} "
            "AND relation = to_regclass('django_migrations') AND NOT granted"
        )
        return bool(cursor.fetchone()[0])


@pytest.fixture
def server(
    django_db_blocker: Any, tmp_path: Path
) -> Iterator[tuple[int, Proxy, dict[str, str], Path]]:
    """The project served by a process, whose database is behind a proxy."""
    with django_db_blocker.unblock(), new_database() as database, Proxy(database) as proxy:
        url = (
            f"postgresql://{database['USER']}:{database['PASSWORD']}@127.0.0.1:{proxy.port}"
            f"/{database['NAME']}?sslmode=disable&gssencmode=disable"
        )
        values = {"DATABASE_URL": url, "SECRET_KEY": "k" * 60, "ALLOWED_HOSTS": "127.0.0.1"}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        output = tmp_path / "served"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-u", "manage.py", "runserver", "--noreload"),
                    *("--skip-checks", f"127.0.0.1:{port}"),
                ],
                cwd=ROOT,
                env=environment(**values),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield port, proxy, values, output
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def probe(port: int, path: str) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except OSError:
        return 0, {}
    finally:
        connection.close()


@pytest.mark.process
def test_of_a_server_that_runs(server: tuple[int, Proxy, dict[str, str], Path]) -> None:
    port, proxy, values, output = server
    # runserver itself looks at the migrations before it serves.
    proxy.open()
    assert eventually(lambda: probe(port, "/health/live")[0] == 200, 60), output.read_text()

    # Migrations are pending, and production settings redirect everything else to https.
    code, found = probe(port, "/health/ready")
    assert (code, found["status"]) == (503, "not ready")
    assert found["databases"][0]["pending"] > 50

    assert project("migrate", "-v0", **values).returncode == 0
    assert eventually(lambda: probe(port, "/health/ready")[0] == 200), output.read_text()

    # The database goes, the process lives.
    proxy.close()
    assert eventually(lambda: probe(port, "/health/ready")[0] == 503)
    (gone,) = probe(port, "/health/ready")[1]["databases"]
    assert gone["reachable"] is False
    assert gone["reason"] in {"connection refused", "connection lost"}
    assert probe(port, "/health/live")[0] == 200

    proxy.open()
    assert eventually(lambda: probe(port, "/health/ready")[0] == 200), output.read_text()
    assert re.search(
        r"not ready database=default reason=migrations are pending", output.read_text()
    )
    assert "k" * 60 not in output.read_text()
