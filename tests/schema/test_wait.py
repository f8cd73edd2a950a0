"""``schema_wait``: processes that wait while the database, or its schema, comes up."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from hodei.schema.management.commands.schema_wait import Command
from hodei.schema.waiting import LONGEST_DELAY, delays
from tests.processes import eventually
from tests.schema.conftest import APPS, ROOT
from tests.schema.proxy import Proxy
from tests.schema.wire import fake_server, refusal, welcome

Install = Callable[..., None]
Run = Callable[..., Any]


def wait(*databases: str, timeout: str = "0") -> tuple[str, str]:
    """Run it in this process; what it wrote to stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    words = [word for name in databases for word in ("--database", name)]
    call_command("schema_wait", *words, f"--timeout={timeout}", stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*databases: str, timeout: str = "0") -> CommandError:
    with pytest.raises(CommandError) as caught:
        wait(*databases, timeout=timeout)
    return caught.value


class Waiting:
    """A process of ``schema_wait`` that was started."""

    def __init__(self, process: subprocess.Popen[str], told: Path) -> None:
        self.process = process
        self._told = told

    def told(self) -> str:
        return self._told.read_text()

    def tells(self, words: str) -> bool:
        return eventually(lambda: words in self.told() or self.process.poll() is not None) and (
            words in self.told()
        )

    def end(self) -> int:
        return self.process.wait(60)


@contextmanager
def waiting(database: dict[str, Any], told: Path, *words: str) -> Iterator[Waiting]:
    with told.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "django", "schema_wait", *words],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
                "PYTHONPATH": str(ROOT),
                "SCHEMA_TEST_DATABASES": json.dumps({"default": database}),
                "SCHEMA_TEST_APPS": f"{APPS}.ledger",
            },
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield Waiting(process, told)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def proxy(database: dict[str, Any]) -> Iterator[Proxy]:
    with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def through(database: dict[str, Any], proxy: Proxy) -> dict[str, Any]:
    """The database, reached through the proxy."""
    return {
        **database,
        "HOST": "127.0.0.1",
        "PORT": str(proxy.port),
        "OPTIONS": {"sslmode": "disable", "gssencmode": "disable"},
    }


@pytest.mark.process
class TestProcess:
    def test_waits_for_the_migration(
        self, database: dict[str, Any], manage: Run, tmp_path: Path
    ) -> None:
        with waiting(database, tmp_path / "told") as waiter:
            assert waiter.tells("migrations pending (contenttypes.0001_initial"), waiter.told()
            assert manage("migrate", "-v0", apps=("ledger",)).returncode == 0

            assert waiter.end() == 0, waiter.told()

        lines = waiter.told().splitlines()
        assert lines[0].startswith("Waiting for database 'default': ")
        assert lines[-1].startswith("Database 'default' after ")
        assert "Schema valid: " in lines[-1]

    def test_waits_for_a_database_that_comes_up_late(
        self, through: dict[str, Any], proxy: Proxy, manage: Run, tmp_path: Path
    ) -> None:
        assert manage("migrate", "-v0", apps=("ledger",)).returncode == 0
        with waiting(through, tmp_path / "told") as waiter:
            assert waiter.tells("Waiting for database 'default': connection refused."), (
                waiter.told()
            )
            proxy.open()

            assert waiter.end() == 0, waiter.told()

    def test_lives_through_the_end_of_its_server(
        self, through: dict[str, Any], proxy: Proxy, manage: Run, tmp_path: Path
    ) -> None:
        proxy.open()
        with waiting(through, tmp_path / "told") as waiter:
            assert waiter.tells("migrations pending"), waiter.told()
            proxy.close()
            assert waiter.tells("connection refused"), waiter.told()
            assert manage("migrate", "-v0", apps=("ledger",)).returncode == 0
            proxy.open()

            assert waiter.end() == 0, waiter.told()

        assert waiter.told().count("connection refused") == 1

    def test_gives_up_on_a_server_that_hangs(
        self, through: dict[str, Any], proxy: Proxy, tmp_path: Path
    ) -> None:
        proxy.open()
        with waiting(through, tmp_path / "told", "--timeout", "4") as waiter:
            assert waiter.tells("migrations pending"), waiter.told()
            start = time.monotonic()
            proxy.hold()

            assert waiter.end() == 1, waiter.told()

        assert time.monotonic() - start < 20

    def test_gives_up_on_a_server_that_never_speaks(
        self, through: dict[str, Any], proxy: Proxy, tmp_path: Path
    ) -> None:
        proxy.open()
        proxy.hold()
        with waiting(through, tmp_path / "told", "--timeout", "2") as waiter:
            assert waiter.end() == 3, waiter.told()

        assert "is not valid after 2." in waiter.told()

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_a_signal_ends_it_at_once(
        self, database: dict[str, Any], tmp_path: Path, number: signal.Signals, code: int
    ) -> None:
        with waiting(database, tmp_path / "told") as waiter:
            assert waiter.tells("pending"), waiter.told()
            waiter.process.send_signal(number)

            assert waiter.end() == code

        assert "Traceback" not in waiter.told()

    def test_looks_once_without_time(self, manage: Run) -> None:
        done = manage("schema_wait", "--timeout", "0", apps=("ledger",))

        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert "Run migrate, or wait longer (--timeout)." in done.stderr

    def test_misuse(self, manage: Run) -> None:
        done = manage("schema_wait", "--timeout", "soon")

        assert done.returncode == 2
        assert "'soon' is no number of seconds; give 0 or more." in done.stderr
        assert "Traceback" not in done.stderr


class TestOutcome:
    def test_valid_is_said_and_nothing_else(self, scratch: str, install: Install) -> None:
        install("ledger")
        call_command("migrate", database=scratch, verbosity=0)

        out, err = wait(scratch)

        assert out.startswith(f"Database {scratch!r} after 0.")
        assert "Schema valid: " in out
        assert err == ""

    def test_unknown_migrations_do_not_keep_it_waiting(
        self, scratch: str, install: Install
    ) -> None:
        install("ledger")
        call_command("migrate", database=scratch, verbosity=0)
        MigrationRecorder(connections[scratch]).record_applied("ledger", "0009_newer")

        assert wait(scratch)[0].rstrip().endswith("1 unknown")

    def test_pending_at_the_end_of_the_time_is_one(self, scratch: str, install: Install) -> None:
        install("ledger")

        assert refused(scratch, timeout="0.2").returncode == 1

    def test_several_last_migrations_are_not_waited_for(
        self, scratch: str, install: Install
    ) -> None:
        install("forked")

        error = refused(scratch, timeout="100")

        assert error.returncode == 1
        assert "several last migrations in forked. Join them" in str(error)

    def test_out_of_reach_at_the_end_of_the_time_is_three(
        self, point_alias: Callable[..., str], database: dict[str, Any]
    ) -> None:
        error = refused(point_alias(database, NAME="hodei_schema_no_such"))

        assert error.returncode == 3
        assert "no such database" in str(error)

    def test_not_readable_is_three(self, scratch: str, install: Install) -> None:
        install("ledger")
        call_command("migrate", database=scratch, verbosity=0)
        with connections[scratch].cursor() as cursor:
            cursor.execute("ALTER TABLE django_migrations RENAME TO hidden")
            cursor.execute("CREATE VIEW django_migrations AS SELECT 1/0 AS app, 1 AS name")

        error = refused(scratch)

        assert error.returncode == 3
        assert 'it cannot be read ("division by zero")' in str(error)

    def test_a_server_that_is_too_old_is_not_waited_for(
        self, point_alias: Callable[..., str]
    ) -> None:
        with fake_server(welcome("11.4")) as port:
            alias = point_alias(
                {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": "n",
                    "USER": "u",
                    "PASSWORD": "",
                    "HOST": "127.0.0.1",
                    "PORT": str(port),
                    "OPTIONS": {"sslmode": "disable", "gssencmode": "disable"},
                }
            )

            error = refused(alias, timeout="100")

        assert error.returncode == 3
        assert "server too old" in str(error)

    def test_a_refusal_is_told_without_the_password(self, point_alias: Callable[..., str]) -> None:
        answer = refusal("28P01", 'password authentication failed for user "u"')
        with fake_server(answer, asks_password=True) as port:
            alias = point_alias(
                {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": "n",
                    "USER": "u",
                    "PASSWORD": "secret",
                    "HOST": "127.0.0.1",
                    "PORT": str(port),
                    "OPTIONS": {"sslmode": "disable", "gssencmode": "disable"},
                }
            )

            error = refused(alias)

        assert "wrong password" in str(error)
        assert "secret" not in str(error)

    def test_another_engine_is_misuse(self, point_alias: Callable[..., str]) -> None:
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})

        assert refused(alias, timeout="100").returncode == 2

    def test_waits_for_every_database(
        self, scratch: str, install: Install, database: dict[str, Any]
    ) -> None:
        install("ledger")
        call_command("migrate", database=scratch, verbosity=0)

        out, _ = wait(scratch, scratch)
        assert out.count("Schema valid") == 1

        # The second is the project's own test database, where ledger was never migrated.
        error = refused(scratch, "default")
        assert "Database 'default' is not valid" in str(error)

    @pytest.mark.parametrize("seconds", ["-1", "inf", "nan", ""])
    def test_a_time_that_is_none(self, scratch: str, seconds: str) -> None:
        assert "is no number of seconds" in str(refused(scratch, timeout=seconds))

    def test_a_wrong_name_lists_the_near_ones(self, scratch: str) -> None:
        error = refused("scrach")

        assert error.returncode == 2
        assert str(error) == "There is no database 'scrach'. Did you mean scratch?"

    def test_leaves_the_usual_connection_alone(self, scratch: str, install: Install) -> None:
        install("ledger")
        connections[scratch].close()

        handlers = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGTERM)]

        refused(scratch)

        assert connections[scratch].connection is None
        assert "connect_timeout" not in connections[scratch].settings_dict["OPTIONS"]
        assert handlers == [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGTERM)]


class TestDrift:
    def test_is_waited_for_only_where_it_is_asked_for(self, scratch: str, install: Install) -> None:
        install("ledger")
        call_command("migrate", database=scratch, verbosity=0)
        assert drift(scratch).startswith(f"Database {scratch!r} after ")
        with connections[scratch].cursor() as cursor:
            cursor.execute("ALTER TABLE ledger_entry DROP COLUMN amount")

        with pytest.raises(CommandError) as caught:
            drift(scratch)

        assert caught.value.returncode == 1
        assert "1 difference from what its migrations build (" in str(caught.value)
        assert "amount" in str(caught.value)
        assert str(caught.value).endswith("See schema_validate.")
        assert wait(scratch)[0].startswith(f"Database {scratch!r} after ")

    def test_what_cannot_be_verified_is_three(self, scratch: str, install: Install) -> None:
        install("ledger")
        call_command("migrate", database=scratch, verbosity=0)
        with connections[scratch].cursor() as cursor:
            cursor.execute(
                "ALTER ROLE CURRENT_USER IN DATABASE {} SET search_path = nowhere".format(
                    connections[scratch].ops.quote_name(connections[scratch].settings_dict["NAME"])
                )
            )

        with pytest.raises(CommandError) as caught:
            drift(scratch)

        assert caught.value.returncode == 3


def drift(alias: str) -> str:
    out = io.StringIO()
    call_command("schema_wait", databases=[alias], timeout=0, drift=True, stdout=out)
    return out.getvalue()


class TestDelays:
    def test_grow_to_two_seconds_and_differ(self) -> None:
        found = list(islice(delays(random.Random(1)), 50))
        other = list(islice(delays(random.Random(2)), 50))

        assert found != other
        assert 0.075 <= found[0] <= 0.125
        assert all(0.75 * LONGEST_DELAY <= one <= 1.25 * LONGEST_DELAY for one in found[10:])


class TestHelp:
    def test_explains_every_option_to_a_newcomer(self) -> None:
        text = " ".join(Command().create_parser("manage.py", "schema_wait").format_help().split())

        for told in (
            "Wait until every migration of this code is applied",
            "something else has to run migrate",
            "0 valid, 1 the time is up and the schema is not valid",
            "May be given several times",
            "0 looks once and does not wait. Without it: 300.",
        ):
            assert told in text
