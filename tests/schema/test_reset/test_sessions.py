"""Others who are in the way, and how they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management.base import CommandError

from hodei.schema import MigrationService
from hodei.schema.reset import guards
from hodei.schema.stakes import TablesBusy
from tests.schema.test_reset.kit import (
    Install,
    check_valid,
    execute,
    migrate,
    outcomes,
    reset,
    session,
    unchanged,
)


class TestSessions:
    def test_who_writes_is_named_and_stops_it(self, depot: str) -> None:
        with session(depot, application_name="somebody") as other:
            other.execute("BEGIN; UPDATE depot_crate SET name = 'x'")
            with unchanged(depot), pytest.raises(CommandError) as caught:
                reset(depot, backup=Path("none.dump"))
            assert caught.value.returncode == 4
            assert f"pid {other.info.backend_pid} (somebody, " in str(caught.value)
            other.execute("ROLLBACK")
        assert not Path("none.dump").exists()

    def test_who_reads_stops_it_too(self, depot: str) -> None:
        with session(depot) as other:
            other.execute("BEGIN; SELECT * FROM depot_crate")
            plan = MigrationService(depot).plan_reset()
            assert [one.pid for one in plan.sessions] == [other.info.backend_pid]
            with unchanged(depot), pytest.raises(TablesBusy):
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
            assert other.execute("SELECT count(*) FROM depot_crate").fetchone() == (1,)

    @pytest.mark.parametrize("statement", ["SELECT * FROM depot_crate",
                                           "UPDATE depot_crate SET name = ''"])  # fmt: skip
    def test_only_those_in_the_way_are_ended(self, depot: str, statement: str) -> None:
        with session(depot) as bystander, session(depot) as other:
            bystander.execute("BEGIN; SELECT * FROM hauler_trip")
            other.execute(f"BEGIN; {statement}")
            shown = reset(depot, terminate=True)

            assert f"schema_reset: ended pid {other.info.backend_pid} (" in shown
            assert shown.count("schema_reset: ended") == 1
            bystander.execute("SELECT 1; COMMIT")
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1")
        check_valid(depot)

    def test_who_holds_a_table_that_ours_refer_to(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To drop a foreign key takes a lock on both ends."""
        monkeypatch.setenv(
            "ERRAND_SQL",
            "CREATE TABLE errand_kind (kind_id int REFERENCES django_content_type)",
        )
        install("errand")
        migrate(alias)
        with session(alias, application_name="reader") as other:
            other.execute("BEGIN; SELECT * FROM django_content_type")
            with unchanged(alias), pytest.raises(CommandError, match="reader") as caught:
                reset(alias, "errand")
            assert caught.value.returncode == 4
            assert "ended pid" in reset(alias, "errand", terminate=True)
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1")


class TestSessionsNotEnded:
    """Whoever is in the way and does not end: nothing is dropped."""

    @pytest.fixture
    def owner(
        self,
        database: dict[str, Any],
        point_alias: Callable[..., str],
        allowed: None,
        install: Install,
    ) -> Iterator[str]:
        """The app depot in a database whose role owns it, and may end nobody else's session."""
        role = f"{database['NAME']}_owner"
        alias = point_alias(database)
        execute(
            alias,
            f"CREATE ROLE {role}; ALTER SCHEMA public OWNER TO {role}; "
            f"GRANT CREATE ON DATABASE {database['NAME']} TO {role}",
        )
        try:
            point_alias(database, OPTIONS={"assume_role": role})
            install("depot")
            migrate(alias)
            yield alias
        finally:
            point_alias(database)
            execute(alias, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")

    def test_that_of_a_role_that_one_may_not_end(self, owner: str) -> None:
        with session(owner, application_name="theirs") as other:
            pid = other.info.backend_pid
            other.execute("BEGIN; SELECT * FROM depot_crate")
            with unchanged(owner), pytest.raises(CommandError) as caught:
                reset(owner, terminate=True)
            assert other.execute("SELECT count(*) FROM depot_crate").fetchone() == (1,)

        assert caught.value.returncode == 3
        told = str(caught.value)
        assert 'could not be ended ("' in told
        assert "to terminate" in told
        assert "so nothing was changed" in told
        assert f"pid {pid} (theirs, " in told
        assert "pg_signal_backend" in told
        assert {outcome for *_, outcome in outcomes(owner, "depot")} == {"ok"}

    def test_one_that_the_server_does_not_end_in_time(
        self, depot: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guards, "_END_WAIT_MS", 100)
        with session(depot, application_name="stuck") as other:
            pid = other.info.backend_pid
            other.execute("BEGIN; SELECT * FROM depot_crate")
            with (
                halted(pid),
                unchanged(depot),
                pytest.raises(CommandError) as caught,
            ):
                reset(depot, terminate=True)
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1")

        assert caught.value.returncode == 3
        assert "did not end in time, so nothing was changed" in str(caught.value)
        assert f"pid {pid} (stuck, " in str(caught.value)
        assert len(outcomes(depot, "depot")) == 3, "nothing was attempted"


@contextmanager
def halted(pid: int) -> Iterator[None]:
    """The server's process does nothing at all inside the block."""
    found = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    if "postgres" not in found.stdout:
        pytest.skip("the server's processes are not on this machine")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
