"""Pages of the history: every outcome is found, and a page costs the same with a million runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from hodei.schema.browsing import (
    CUT,
    OUTCOMES,
    PAGE,
    Page,
    Wanted,
    page_statement,
    read_apps,
    read_page,
    read_related,
)
from hodei.schema.history import EVENT_OUTCOMES, INTERRUPTED, Run, read_runs
from hodei.schema.run.lock import RUN, key_of
from tests.databases import alias_of, new_database

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A database with an empty history. Tests fill it in transactions."""
    with django_db_blocker.unblock(), new_database() as database:
        with alias_of(database) as alias:
            call_command("migrate", "contenttypes", database=alias, verbosity=0)
            execute(alias, "TRUNCATE schema_migration_runs RESTART IDENTITY")
        yield database


@pytest.fixture
def history(made: dict[str, Any], point_alias: Callable[..., str]) -> Iterator[str]:
    alias = point_alias(made)
    with transaction.atomic(using=alias):
        yield alias
        transaction.set_rollback(True, using=alias)


def execute(alias: str, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def fill(alias: str, number: int, **values: str) -> None:
    """So many rows more, a minute apart, as SQL expressions of ``n``; they are seldom failures."""
    columns = {
        **dict.fromkeys(("database_user", "os_user", "host", "command", "release"), "'x'"),
        **dict.fromkeys(("hodei_version", "django_version"), "'1'"),
        "batch": "lpad(to_hex(n / 7), 32, '0')::uuid",
        "app": "CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'app_' || n % 7 END",
        "name": "'000' || n % 40",
        "direction": "'forward'",
        "event": "CASE WHEN n % 997 = 1 THEN 'fake' WHEN n % 997 = 2 THEN 'accept' ELSE 'run' END",
        "started_at": f"now() - ({number} - n) * interval '1 minute'",
        "success": "n % 991 > 1",
        "error": f"CASE n % 991 WHEN 0 THEN 'broken' WHEN 1 THEN '{INTERRUPTED}' END",
        "traceback": "CASE n % 991 WHEN 0 THEN repeat('t', 50000) END",
        **values,
    }
    execute(
        alias,
        f"INSERT INTO schema_migration_runs ({', '.join(columns)}) "
        f"SELECT {', '.join(columns.values())} FROM generate_series(1, {number}) n",
    )


def walk(alias: str, wanted: Wanted, size: int) -> list[Page]:
    """All pages, from the newest to the oldest."""
    pages = [read_page(alias, wanted, size=size)]
    while (before := pages[-1].older) is not None:
        following = Wanted(
            app=wanted.app, outcome=wanted.outcome, since=wanted.since, before=before
        )
        pages.append(read_page(alias, following, size=size))
    return pages


def ids(runs: Any) -> list[int]:
    return [run.id for run in runs]


class TestPage:
    @pytest.mark.parametrize("size", [1, 7, 19, 20, 21, 40])
    def test_pages_hold_every_run_once(self, history: str, size: int) -> None:
        fill(history, 20)

        pages = walk(history, Wanted(), size)

        assert [number for page in pages for number in ids(page.runs)] == ids(read_runs(history))
        assert all(len(page.runs) == size for page in pages[:-1])
        assert pages[0].newer is None

    def test_and_back(self, history: str) -> None:
        fill(history, 20)
        pages = walk(history, Wanted(), 7)

        back = [pages[-1]]
        while (after := back[-1].newer) is not None:
            back.append(read_page(history, Wanted(after=after), size=7))

        assert [ids(page.runs) for page in back[:3]] == [ids(page.runs) for page in pages[::-1]]

    def test_what_comes_meanwhile_moves_no_page(self, history: str) -> None:
        fill(history, 20)
        first = read_page(history, Wanted(), size=7)
        fill(history, 5)

        second = read_page(history, Wanted(before=first.older), size=7)

        assert ids([*first.runs, *second.runs]) == ids(read_runs(history))[5:19]

    def test_filters_go_together(self, history: str) -> None:
        fill(history, 3_000)
        since = NOW - timedelta(minutes=2_000)

        def fits(run: Run) -> bool:
            return run.app == "app_3" and run.outcome == "failed" and run.started_at >= since

        wanted = Wanted(app="app_3", outcome="failed", since=since)
        found = [run for page in walk(history, wanted, 1) for run in page.runs]

        assert ids(found) == ids(run for run in read_runs(history) if fits(run))

    def test_without_tracebacks_and_long_errors(self, history: str) -> None:
        fill(history, 1, success="false", error="repeat('e', 9000)", traceback="'t'")

        (run,) = read_page(history, Wanted()).runs

        assert (run.traceback, run.error, run.outcome) == (None, "e" * CUT, "failed")

    def test_where_nothing_was_ever_recorded(self, scratch: str) -> None:
        assert read_page(scratch, Wanted()) == Page(runs=(), older=None, newer=None)
        assert read_apps(scratch) == ()
        assert connections[scratch].introspection.table_names() == []

    def test_apps_are_the_distinct_ones(self, history: str) -> None:
        assert read_apps(history) == ()
        fill(history, 2_000, app="CASE WHEN n % 2 = 0 THEN 'ünïcode' ELSE 'app_' || n % 9 END")

        found = read_apps(history)

        assert set(found) == {run.app for run in read_runs(history)}
        assert len(found) == 10


class TestOutcomes:
    def test_each_run_is_found_by_its_outcome_and_by_no_other(self, history: str) -> None:
        for success in ("true", "false", "NULL"):
            for event in ("run", *EVENT_OUTCOMES):
                for error in ("NULL", "'broken'", f"'{INTERRUPTED}'"):
                    fill(history, 1, success=success, event=f"'{event}'", error=error)
        execute(history, f"SELECT pg_advisory_lock({RUN}, {key_of('public')})")
        runs = read_runs(history)

        found = {outcome: read_page(history, Wanted(outcome=outcome)).runs for outcome in OUTCOMES}

        for outcome, those in found.items():
            assert ids(those) == ids(run for run in runs if run.outcome == outcome)
            assert {run.outcome for run in those} == {outcome}
        assert sum(map(len, found.values())) == len(runs) == 9 * (1 + len(EVENT_OUTCOMES))


class TestRelated:
    def test_attempts_and_the_rest_of_the_command(self, history: str) -> None:
        fill(history, 21, app="'shop'", name="'000' || n % 7")
        runs = {run.id: run for run in read_runs(history)}
        run = runs[min(runs) + 9]

        related = read_related(history, run)

        assert ids(related.attempts) == [run.id + 7, run.id - 7]
        same = [one.id for one in runs.values() if one.batch == run.batch and one.id != run.id]
        assert ids(related.same_command) == sorted(same)
        assert len(same) == 6


#: What a page may be asked for, and the index that answers it.
ASKED = {
    "newest": (Wanted(), "pkey"),
    "older": (Wanted(before=2_500), "pkey"),
    "newer": (Wanted(after=2_500), "pkey"),
    "app": (Wanted(app="app_3"), ""),
    "a rare app": (Wanted(app="rare"), "app_idx"),
    "older of an app": (Wanted(app="rare", before=2_500), "app_idx"),
    "ok": (Wanted(outcome="ok"), "pkey"),
    "failed": (Wanted(outcome="failed"), "unsuccessful_idx"),
    "older failures": (Wanted(outcome="failed", before=2_500), "unsuccessful_idx"),
    "interrupted": (Wanted(outcome="interrupted"), "unsuccessful_idx"),
    "running": (Wanted(outcome="running"), "unsuccessful_idx"),
    "faked": (Wanted(outcome="faked"), "recorded_idx"),
    "accepted": (Wanted(outcome="accepted"), "recorded_idx"),
    "of an hour": (Wanted(since=NOW - timedelta(hours=1)), ""),
    "of tomorrow": (Wanted(since=NOW + timedelta(days=1)), "started_idx"),
    "of all time": (Wanted(since=NOW - timedelta(days=9_000)), "pkey"),
    "failures of an app": (Wanted(app="app_3", outcome="failed"), ""),
}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def explained(alias: str, wanted: Wanted) -> dict[str, Any]:
    statement, values = page_statement(wanted, PAGE)
    ((plan,),) = execute(alias, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values)
    found = json.loads(plan) if isinstance(plan, str) else plan
    return found[0]["Plan"]  # type: ignore[no-any-return]


def check(alias: str, most_blocks: int) -> None:
    execute(alias, "ANALYZE schema_migration_runs")
    for name, (wanted, index) in ASKED.items():
        plan = explained(alias, wanted)
        used = [node.get("Index Name", "") for node in nodes(plan)]
        scans = [
            node
            for node in nodes(plan)
            if node["Node Type"] == "Seq Scan" and "runs" in node["Relation Name"]
        ]
        blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

        assert scans == [], name
        assert any(one.endswith(index) for one in used), (name, used)
        assert blocks <= most_blocks, (name, blocks)


@pytest.fixture
def fresh(scratch: str) -> str:
    """A history without the dead rows of other tests, which an index would have to pass."""
    call_command("migrate", "contenttypes", database=scratch, verbosity=0)
    return scratch


def test_each_page_is_answered_by_an_index(fresh: str) -> None:
    fill(fresh, 20_000, traceback="NULL")

    check(fresh, most_blocks=500)


@pytest.mark.slow
def test_and_with_a_million_runs(fresh: str) -> None:
    fill(fresh, 1_000_000, traceback="NULL")

    check(fresh, most_blocks=500)
