from __future__ import annotations

import os
import signal
from typing import Any

import psycopg
import pytest

from hodei.schema.history import INTERRUPTED
from hodei.schema.run.lock import RUN, key_of
from tests.processes import eventually
from tests.schema.conftest import Run
from tests.schema.test_migrate.kit import start


@pytest.mark.process
class TestCommandLine:
    def test_a_failure_is_one_line(self, manage: Run) -> None:
        done = manage("migrate", apps=("ledger",), LEDGER_AMOUNT="nonsense")

        assert done.returncode == 5
        assert "Traceback" not in done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("CommandError: Migration ledger.0002_post failed after ")
        assert "(SQLSTATE 22P02)" in line
        shown = manage("schema_history", "--failed", apps=("ledger",))
        assert "ledger  0002_post  forward    failed" in shown.stdout

    def test_no_database(self, manage: Run, database: dict[str, Any]) -> None:
        aliases = {"default": {**database, "NAME": "hodei_schema_no_such"}}

        done = manage("migrate", aliases=aliases)

        assert done.returncode == 3
        assert done.stderr.count("\n") == 1
        assert "no such database" in done.stderr

    def test_a_lock_that_is_held(self, manage: Run, another: psycopg.Connection[Any]) -> None:
        another.execute(f"SELECT pg_advisory_lock({RUN}, {key_of('public')})")

        done = manage("migrate", "--lock-wait", "0")

        assert done.returncode == 4
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("words", [["--lock-wait", "-1"], ["--lock-retries", "x"]])
    def test_misuse(self, manage: Run, words: list[str]) -> None:
        assert manage("migrate", *words).returncode == 2

    def test_a_killed_holder_is_followed_at_once(
        self, database: dict[str, Any], another: psycopg.Connection[Any]
    ) -> None:
        """It is killed in the middle of a statement that would go on for minutes."""
        sleeping = (
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND "
            "query LIKE 'SELECT pg_sleep%'"
        )
        holder = start(database, LEDGER_SECONDS="300")
        try:
            assert eventually(lambda: another.execute(sleeping).rowcount > 0, 60)
            follower = start(database)
            waiting = (
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND "
                "application_name LIKE 'hodei migrate%' AND state = 'idle' AND "
                "query LIKE 'SELECT pg_try_advisory%'"
            )
            assert eventually(lambda: another.execute(waiting).rowcount > 0, 60)
            os.kill(holder.pid, signal.SIGKILL)
            assert eventually(
                lambda: (
                    another.execute(
                        "SELECT FROM schema_migration_runs WHERE error = %s", [INTERRUPTED]
                    ).rowcount
                    > 0
                )
            )
            assert follower.wait(60) == 0
        finally:
            holder.kill()
            holder.wait()
        (row,) = another.execute(
            "SELECT name, success FROM schema_migration_runs WHERE NOT success"
        ).fetchall()
        assert row == ("0002_post", False)
