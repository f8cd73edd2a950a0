"""Several ``schema_adopt`` at once, and one that is killed at any moment."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from hodei.schema.history import INTERRUPTED
from tests.databases import new_database
from tests.schema.conftest import Run, run_forks
from tests.schema.forks import KILLED
from tests.schema.homestead import FENCES, PLOTS, session


def forks(*words: str, lines: list[str], database: dict[str, Any]) -> list[Any]:
    return run_forks(*words, "adopt", apps=("homestead",), lines=lines, database=database)


@contextmanager
def original() -> Iterator[dict[str, Any]]:
    """A database of the other program, not as it should be."""
    with new_database() as database:
        with session(database) as connection:
            connection.execute(PLOTS + FENCES)
            connection.execute(
                """
                DROP INDEX plots_size_idx;
                ALTER TABLE plots DROP COLUMN size;
                ALTER TABLE fences ALTER length DROP NOT NULL;
                CREATE TABLE their_migrations (step int, at timestamptz);
                INSERT INTO their_migrations VALUES (1, now())
                """
            )
            connection.execute("INSERT INTO fences (plot_id) SELECT id FROM plots")
        yield database


@pytest.mark.process
@pytest.mark.usefixtures("_unblocked")
class TestProcesses:
    @pytest.fixture
    def _unblocked(self, django_db_blocker: Any) -> Iterator[None]:
        with django_db_blocker.unblock():
            yield

    def check(self, database: dict[str, Any], *, interrupted: int) -> None:
        with session(database) as connection:
            records = connection.execute("SELECT app, name FROM django_migrations").fetchall()
            assert len(records) == len(set(records))
            assert {("homestead", "0002_fence"), ("homestead", "0004_index")} <= set(records)
            runs = connection.execute(
                "SELECT event, app, name, success, error FROM schema_migration_runs ORDER BY id"
            ).fetchall()
            done = [run[:3] for run in runs if run[3]]
            assert len(done) == len(set(done))
            assert ("adopt", "homestead", "0002_fence") in done
            assert ("import", "their_migrations", "step 1") in done
            unfinished = [run for run in runs if not run[3]]
            assert len(unfinished) <= interrupted, unfinished
            assert {run[4] for run in unfinished} <= {INTERRUPTED}
            counts = connection.execute(
                "SELECT (SELECT count(*) FROM plots), (SELECT count(*) FROM fences), "
                "(SELECT count(*) FROM fences WHERE length = 0), "
                "(SELECT count(*) FROM pg_constraint WHERE NOT convalidated), "
                "(SELECT count(*) FROM pg_index WHERE NOT indisvalid)"
            ).fetchone()
            assert counts == (5, 10, 5, 0, 0)

    def crash(self, choose: Callable[[int], list[int]]) -> None:
        with original() as model:
            (undisturbed,) = forks("crash", lines=[f"{model['NAME']} -1"], database=model)
            assert undisturbed["killed"]["code"] == 0, undisturbed
            self.check(model, interrupted=0)
        points = choose(int(undisturbed["killed"]["said"].split()[-1]))
        for start in range(0, len(points), 10):
            self.kill(points[start : start + 10])

    def kill(self, points: list[int]) -> None:
        with ExitStack() as stack:
            made = [stack.enter_context(original()) for _ in points]
            lines = [f"{one['NAME']} {point}" for one, point in zip(made, points, strict=True)]
            ends = forks("crash", lines=lines, database=made[0])
            for database, point, end in zip(made, points, ends, strict=True):
                killed = end["killed"]
                assert killed["code"] == KILLED or int(killed["said"].split()[-1]) <= point, end
                assert end["after"]["code"] == 0, (point, end["after"]["said"])
                self.check(database, interrupted=2)

    def test_killed_at_some_points_it_goes_on(self) -> None:
        self.crash(lambda count: random.Random(3).sample(range(count), 3))

    @pytest.mark.slow
    @pytest.mark.timeout(3000)
    @pytest.mark.parametrize("part", range(4))
    def test_killed_at_every_point_it_goes_on(self, part: int) -> None:
        self.crash(lambda count: list(range(part, count, 4)))

    def test_three_at_once_adopt_once(self) -> None:
        with original() as database:
            (ends,) = forks("together", "3", lines=[database["NAME"]], database=database)

            assert [end["code"] for end in ends] == [0, 0, 0], ends
            self.check(database, interrupted=0)

    def test_the_help_says_what_it_does(self, manage: Run) -> None:
        done = manage("schema_adopt", "--help")

        said = " ".join(done.stdout.split())
        assert "Take over a database whose tables another program" in said
        assert "No row is lost." in said
        for option in ("--dry-run", "--no-input", "--database ALIAS"):
            assert option in said

    def test_an_error_is_one_line(self, manage: Run) -> None:
        done = manage("schema_adopt", "--no-input", apps=("homestead",))

        assert done.returncode == 1
        assert done.stderr.startswith("CommandError: Nothing to adopt: none of the 2 tables")
        assert len(done.stderr.splitlines()) == 1
