from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.schema import MigrationService, signals
from hodei.schema.history import INTERRUPTED, read_runs
from hodei.schema.rollback.service import go_back
from hodei.schema.rollback.targets import After
from hodei.schema.run.failures import MigrationBlocked
from hodei.schema.stakes import TablesBusy
from tests.processes import ROOT, eventually
from tests.schema.test_rollback.kit import catalog, outcomes, rows
from tests.schema.vineyard import Applied, migrate, session_on

SLEEPS = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
)


def start(alias: str, *words: str, **env: str) -> subprocess.Popen[str]:
    """The command, in a process of its own."""
    settings = connections[alias].settings_dict
    names = ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD")
    apps = [name for name in installed() if name.startswith("tests.schema.apps.")]
    return subprocess.Popen(
        [sys.executable, "-m", "django", *words],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
            "PYTHONPATH": str(ROOT),
            "SCHEMA_TEST_DATABASES": json.dumps({"default": {n: settings[n] for n in names}}),
            "SCHEMA_TEST_APPS": " ".join(apps),
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def installed() -> list[str]:
    from django.conf import settings

    return list(settings.INSTALLED_APPS)


class TestLocks:
    def test_one_who_is_in_the_way_is_named(
        self, vineyard: str, other: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        other.execute("BEGIN; INSERT INTO cellar_shelf DEFAULT VALUES")
        before = catalog(vineyard)

        with pytest.raises(TablesBusy) as caught:
            go_back(vineyard, After("cellar", "zero"), command="test", retries=1)

        assert caught.value.exit_code == 4
        assert f"pid {other.info.backend_pid} (somebody" in str(caught.value)
        assert catalog(vineyard) == before

    def test_one_who_only_reads_is_met_at_the_drop(
        self, vineyard: str, other: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        other.execute("BEGIN; SELECT FROM cellar_shelf")

        with pytest.raises(MigrationBlocked) as caught:
            go_back(vineyard, After("cellar", "zero"), command="test", retries=0)

        assert caught.value.exit_code == 4
        assert "SELECT FROM cellar_shelf" in str(caught.value)

    def test_it_is_tried_again_as_a_whole(
        self, vineyard: str, other: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        other.execute("BEGIN; SELECT FROM cellar_cask")

        def let_go(**_: Any) -> None:
            other.execute("ROLLBACK")

        signals.migration_failed.connect(let_go)
        results = go_back(vineyard, After("cellar", "zero"), command="test").results

        assert [(one.name, one.success) for one in results] == [
            ("0002_shelf", True),
            ("0001_initial", True),
        ]
        assert outcomes(vineyard) == [
            ("0002_shelf", "failed"),
            ("0001_initial", "failed"),
            ("0002_shelf", "ok"),
            ("0001_initial", "ok"),
        ]

    @pytest.mark.process
    def test_a_migrate_that_is_going_on_is_waited_for(self, applied: Applied) -> None:
        """Then the steps are those that it has left."""
        alias = applied("ledger")
        migrate(alias, "ledger", "0001")
        process = start(alias, "migrate", "-v0", LEDGER_SECONDS="1")
        with session_on(alias) as session:
            assert eventually(lambda: bool(session.execute(SLEEPS).fetchall()))

        results = MigrationService(alias).rollback_to("ledger", "0002")

        process.communicate(timeout=60)
        assert process.returncode == 0
        assert [one.name for one in results] == ["0003_amount"]


class TestKilled:
    @pytest.mark.every_server
    @pytest.mark.process
    def test_in_the_middle_of_the_transaction_everything_is_as_it_was(self, vineyard: str) -> None:
        before = catalog(vineyard), rows(vineyard, "SELECT * FROM django_migrations ORDER BY id")
        process = start(
            vineyard,
            *("schema_rollback", "vineyard", "0001", "--no-input"),
            VINEYARD_PRESS="SELECT pg_sleep(60)",
        )
        with session_on(vineyard) as session:
            assert eventually(lambda: bool(session.execute(SLEEPS).fetchall()))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            assert eventually(lambda: not session.execute(SLEEPS).fetchall())

        after = catalog(vineyard), rows(vineyard, "SELECT * FROM django_migrations ORDER BY id")
        assert after == before
        assert [one[1] for one in outcomes(vineyard)] == ["interrupted"] * 7
        assert {one.error for one in read_runs(vineyard, failed_only=True)} == {INTERRUPTED}
        MigrationService(vineyard).rollback_to("vineyard", "0001")
        assert outcomes(vineyard)[-1] == ("0002_press", "ok")
