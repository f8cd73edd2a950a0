"""Resets as processes: several at once, and one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from tests.processes import ROOT, eventually
from tests.schema.conftest import APPS
from tests.schema.test_reset.kit import (
    Install,
    check_valid,
    content,
    migrate,
    name_of,
    outcomes,
    reset,
    rows,
    session,
    unchanged,
)


def status(alias: str) -> list[Any]:
    from hodei.schema.status import read_status

    return [one for one in read_status(alias).migrations if one.app == "depot"]


@pytest.mark.process
class TestProcesses:
    """Several at once, and one that is killed."""

    @pytest.fixture
    def start(self, depot: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
        """A function that starts a command on the database of ``depot``."""
        found = connections[depot].settings_dict
        keys = ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD", "EMBEDDED_DIRECTORY")
        default = {key: found[key] for key in keys if key in found}
        started = []

        def run(*words: str, **variables: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "django", *words],
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
                    "PYTHONPATH": str(ROOT),
                    "SCHEMA_TEST_DATABASES": json.dumps({"default": default}),
                    "SCHEMA_TEST_APPS": "tests.schema.apps.depot tests.schema.apps.hauler",
                    "SCHEMA_TEST_ALLOW_RESET": "1",
                    **variables,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            started.append(process)
            return process

        yield run
        for process in started:
            process.kill()
            process.communicate()

    def busy(self, alias: str, query: str) -> bool:
        return bool(
            rows(
                alias,
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
                f"pg_backend_pid() AND query LIKE '{query}%' AND state = 'active'",
            )
        )

    def test_killed_in_the_middle_it_has_done_nothing(
        self, depot: str, start: Callable[..., Any]
    ) -> None:
        migrate(depot)
        with unchanged(depot):
            words = ["schema_reset", "--confirm", name_of(depot), "--no-backup"]
            process = start(*words, DEPOT_SQL="SELECT pg_sleep(60)")
            assert eventually(lambda: self.busy(depot, "SELECT pg_sleep(60)")), process.poll()
            process.send_signal(signal.SIGKILL)
            assert eventually(lambda: not self.busy(depot, "SELECT pg_sleep(60)"))
        # Two were done, in a transaction that is no more; the rest was not reached.
        found = outcomes(depot, "depot")[3:]
        assert [one[0] for one in found[3:]] == ["0001_initial", "0002_stock"]
        assert {outcome for *_, outcome in found} == {"interrupted"}
        assert {one.state.value for one in status(depot)} == {"applied"}
        reset(depot)
        check_valid(depot)

    def test_one_after_the_other(self, depot: str, start: Callable[..., Any]) -> None:
        """A reset that is held up in its middle, then a second one and a migrate."""
        words = ["schema_reset", "--confirm", name_of(depot), "--no-backup"]
        gate = "SELECT pg_advisory_xact_lock(42)"
        with session(depot) as other:
            other.execute("SELECT pg_advisory_lock(42)")
            # It waits for something else than a table, and is not to give up.
            first = start(*words, DEPOT_SQL=f"SET LOCAL lock_timeout = 0; {gate}")
            assert eventually(lambda: self.busy(depot, "SET LOCAL lock_timeout = 0; SELECT pg_ad"))
            second, third = start(*words), start("migrate")
            waiting = (
                "SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE datname = "
                "current_database() AND application_name LIKE 'hodei migrate%'"
            )
            assert eventually(lambda: rows(depot, waiting) >= [(3,)])
            assert [one.poll() for one in (first, second, third)] == [None, None, None]
            other.execute("SELECT pg_advisory_unlock(42)")
        said = [one.communicate(timeout=60)[0] for one in (first, second, third)]

        assert [one.returncode for one in (first, second, third)] == [0, 0, 0], said
        assert "2 tables with 3 rows dropped" in said[0]
        assert "2 tables with 2 rows dropped" in said[1]
        assert {outcome for *_, outcome in outcomes(depot, "depot")} == {"ok", "reset"}
        assert len(outcomes(depot, "depot")) == 3 + 6 + 6
        check_valid(depot)

    def test_where_a_scratch_schema_will_not_do_a_temporary_database_does(
        self, depot: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SQL that names the schema would reach out of a scratch schema."""
        # A process fills the temporary database, in a project of the same apps.
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.schema.settings_alone")
        monkeypatch.setenv("SCHEMA_TEST_APPS", f"{APPS}.depot {APPS}.errand")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("ERRAND_SQL", "CREATE TABLE public.errand_here (id int)")
        install("depot", "errand")
        migrate(depot)

        said = reset(depot, "errand", no_backup=False)

        assert "errand_here      errand  0" in said
        assert "2 tables with 0 rows dropped, 1 migration run" in said
        rebuilds_of_this_one = (
            "SELECT FROM pg_database WHERE datname LIKE 'hodei_rebuild%' AND "
            "strpos(shobj_description(oid, 'pg_database'), current_database()) > 0"
        )
        assert rows(depot, rebuilds_of_this_one) == []
        assert content(depot)["depot_shelf"] == ["(1, 'first')", "(2, 'mine')"]
