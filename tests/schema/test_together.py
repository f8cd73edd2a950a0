"""Several ``migrate`` at once, and one that is killed at any moment."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hodei.schema.history import INTERRUPTED
from tests.databases import new_database
from tests.pooler import pgbouncer
from tests.schema.conftest import run_forks
from tests.schema.forks import KILLED

pytestmark = [pytest.mark.process, pytest.mark.every_server, pytest.mark.no_cover]

#: Two branches, a squash, deferred SQL and an index built CONCURRENTLY.
APPS = ("orchard", "quarry", "ledger", "harbour")
#: What an operator would call the schema: tables with columns, indexes that are valid, constraints.
CATALOG = """
SELECT 'column', table_name::text, column_name::text, data_type || is_nullable
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'index', tablename::text, indexdef, indisvalid::text
  FROM pg_indexes JOIN pg_index ON indexrelid = format('%I.%I', schemaname, indexname)::regclass
 WHERE schemaname = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
 ORDER BY 1, 2, 3, 4
"""

Forks = Callable[..., list[Any]]
Databases = Callable[[int], list[dict[str, Any]]]


@pytest.fixture
def databases(django_db_blocker: Any) -> Iterator[Databases]:
    """A function that makes so many empty databases."""
    with django_db_blocker.unblock(), ExitStack() as stack:
        yield lambda number: [stack.enter_context(new_database()) for _ in range(number)]


@pytest.fixture
def forks() -> Forks:
    """A function that runs ``tests.schema.forks`` and returns what it tells."""

    def run(*words: str, lines: list[str], database: dict[str, Any]) -> list[Any]:
        return run_forks(*words, apps=APPS, lines=lines, database=database)

    return run


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


def recorded(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    return connection.execute("SELECT app, name FROM django_migrations ORDER BY id").fetchall()


def check_each_applied_once(database: dict[str, Any], batches: int = 1) -> None:
    with session(database) as connection:
        rows = recorded(connection)
        assert len(rows) == len(set(rows))
        assert {("harbour", "0003_depth"), ("ledger", "0003_amount")} <= set(rows)
        runs = connection.execute(
            "SELECT app, name, count(*), bool_and(success), count(DISTINCT batch) "
            "FROM schema_migration_runs GROUP BY app, name"
        ).fetchall()
        assert {row[2:4] for row in runs} == {(1, True)}
        # What a squashed migration replaces is recorded by Django, and did not run.
        assert {row[:2] for row in runs} <= set(rows)
        found = connection.execute("SELECT count(DISTINCT batch) FROM schema_migration_runs")
        assert found.fetchone() == (batches,)
        found = connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
        assert found.fetchone() == (0,)


class TestTogether:
    def check(self, databases: Databases, forks: Forks, *, number: int, rounds: int) -> None:
        made = databases(rounds)
        lines = [database["NAME"] for database in made]

        for told in forks("together", str(number), lines=lines, database=made[0]):
            assert [end["code"] for end in told] == [0] * number, told
            said = [line for end in told for line in end["said"].splitlines()]
            assert all(line.startswith("migrate: waiting for another") for line in said), said
        for database in made:
            check_each_applied_once(database)

    def test_each_migration_is_applied_once(self, databases: Databases, forks: Forks) -> None:
        self.check(databases, forks, number=4, rounds=2)

    @pytest.mark.slow
    def test_eight_of_them_twenty_times(self, databases: Databases, forks: Forks) -> None:
        self.check(databases, forks, number=8, rounds=20)


class TestCrash:
    """Killed at a point, and run again, it ends where an undisturbed run ends."""

    def check(self, databases: Databases, forks: Forks, choose: Callable[[int], list[int]]) -> None:
        (model,) = databases(1)
        (undisturbed,) = forks("crash", lines=[f"{model['NAME']} -1"], database=model)
        assert undisturbed["killed"]["code"] == 0, undisturbed
        with session(model) as connection:
            expected = connection.execute(CATALOG).fetchall()
            keys = sorted(recorded(connection))
        points = choose(int(undisturbed["killed"]["said"]))
        interrupted = 0
        for start in range(0, len(points), 10):
            interrupted += self.check_points(points[start : start + 10], forks, expected, keys)
        # Most exchanges are a migration's own.
        assert interrupted > len(points) / 2

    def check_points(
        self, points: list[int], forks: Forks, expected: list[Any], keys: list[Any]
    ) -> int:
        """Return in how many of them the history shows an interruption."""
        interrupted = 0
        with ExitStack() as stack:
            made = [stack.enter_context(new_database()) for _ in points]
            lines = [f"{db['NAME']} {point}" for db, point in zip(made, points, strict=True)]
            ends = forks("crash", lines=lines, database=made[0])
            for database, point, end in zip(made, points, ends, strict=True):
                killed = end["killed"]
                # Runs differ by an exchange or two: one may have ended before the last points.
                assert killed["code"] == KILLED or int(killed["said"]) <= point, (point, end)
                assert end["after"]["code"] == 0, (point, end["after"]["said"])
                assert end["validated"]["code"] == 0, (point, end["validated"]["said"])
                assert end["validated"]["said"].rstrip().endswith("migrations applied"), point
                failed = [run["error"] for run in json.loads(end["failed"]["said"])["runs"]]
                assert failed in ([], [INTERRUPTED]), (point, failed)
                interrupted += len(failed)
                self.check_end(database, expected, keys, point)
        return interrupted

    def check_end(
        self, database: dict[str, Any], expected: list[Any], keys: list[Any], point: int
    ) -> None:
        with session(database) as connection:
            assert connection.execute(CATALOG).fetchall() == expected, point
            assert sorted(recorded(connection)) == keys, point
            runs = connection.execute(
                "SELECT app, name FROM schema_migration_runs WHERE success ORDER BY id"
            ).fetchall()
            assert len(runs) == len(set(runs)), point

    def test_at_some_points(self, databases: Databases, forks: Forks) -> None:
        self.check(databases, forks, lambda count: random.Random(7).sample(range(count), 5))

    @pytest.mark.slow
    @pytest.mark.timeout(3000)
    @pytest.mark.parametrize("part", range(4))
    def test_at_every_point(self, databases: Databases, forks: Forks, part: int) -> None:
        self.check(databases, forks, lambda count: list(range(part, count, 4)))


class TestPooler:
    """Through PgBouncer a session is not one's own, whichever way it pools."""

    @pytest.fixture(params=["session", "transaction"])
    def pooled(
        self, request: pytest.FixtureRequest, databases: Databases, tmp_path: Path
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """One database, directly and through the pooler."""
        (database,) = databases(1)
        with pgbouncer(database, request.param, tmp_path) as through:
            yield database, through

    def test_they_run_one_after_another_and_leave_nothing_behind(
        self, pooled: tuple[dict[str, Any], dict[str, Any]], forks: Forks
    ) -> None:
        direct, through = pooled

        (told,) = forks("together", "3", lines=[through["NAME"]], database=through)

        assert [end["code"] for end in told] == [0, 0, 0], told
        check_each_applied_once(direct)
        with session(direct) as connection:
            held = connection.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            assert held.fetchone() == (0,)
            sessions = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            ).fetchone()
        # Whichever of the pool's sessions one gets, nobody's limits are in it.
        assert sessions is not None
        with ExitStack() as stack:
            for _ in range(int(sessions[0])):
                connection = stack.enter_context(session(through))
                connection.execute("BEGIN")
                found = connection.execute(
                    "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
                )
                assert found.fetchone() == ("0", "0")
