"""What the status, the history and a run show. ``tests/browser`` has them in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.test.utils import CaptureQueriesContext

# Before a test takes the apps away that the project's URLs need when they are imported.
import hodei.urls  # noqa: F401
from hodei.schema.history import read_runs
from hodei.schema.run.lock import RUN, key_of
from tests.schema.test_admin.reading import (
    BASE,
    OUTCOMES,
    SCRIPT,
    add_runs,
    content,
    execute,
    get,
    linked,
    migrate,
    run_numbers,
    words,
    words_of_text,
)

pytestmark = pytest.mark.django_db

Install = Callable[..., None]


class TestStatus:
    def test_a_valid_schema(self, page: Client, install: Install, scratch: str) -> None:
        install("ledger")
        migrate(scratch)

        said = words(get(page, "status/", database=scratch))

        assert re.search(r"Schema valid: (\d+)/\1 migrations applied", said)
        assert "To look at" not in said
        assert "ledger 3 of 3 applied" in said
        (run,) = (run for run in read_runs(scratch) if run.name == "0003_amount")
        assert re.search(rf"0003_amount applied [\d: -]{{19}} {run.duration_ms} ms \w+", said)

    def test_what_is_wrong_comes_first(self, page: Client, failed: str) -> None:
        MigrationRecorder(connections[failed]).record_applied("ledger", "0009_newer")

        markup = get(page, "status/", database=failed)
        said = words(markup)

        places = [
            said.index(text)
            for text in (
                *("Schema INVALID: 1/", "To look at failed ledger.0002_post", "SQLSTATE 22P02"),
                *("Migration ledger.0009_newer is recorded as applied", "Migrations, by app"),
                "ledger 1 of 3 applied 1 failed 1 pending 1 unknown",
            )
        ]
        assert places == sorted(places)
        run = read_runs(failed)[0]
        address = linked(markup, f"run {run.id}, with its traceback")
        assert address == f"{BASE}{run.id}/change/?database={failed}"
        assert "Traceback (most recent call last)" in page.get(address).text

    def test_narrows_to_an_app(self, page: Client, failed: str) -> None:
        said = words(get(page, "status/", database=failed, app="ledger"))

        assert "Schema INVALID: 1/3 applied, 1 pending, 1 failed" in said
        assert "Of the app ledger alone." in said
        assert "auth 0 of" not in said

    def test_narrows_to_what_is_pending(self, page: Client, failed: str) -> None:
        said = words(get(page, "status/", database=failed, app="ledger", pending="1"))

        assert "0002_post failed" in said
        assert "0003_amount pending" in said
        assert "0001_initial applied" not in said

    def test_nothing_is_pending(self, page: Client, install: Install, scratch: str) -> None:
        install("ledger")
        migrate(scratch, "ledger")

        said = words(get(page, "status/", database=scratch, app="ledger", pending="1"))

        assert "Nothing is pending in ledger." in said

    def test_an_app_without_migrations(self, page: Client, failed: str) -> None:
        said = words(get(page, "status/", database=failed, app="messages"))

        assert "App messages has no migrations." in said

    def test_an_app_that_is_not_there(self, page: Client, failed: str) -> None:
        for name in ("legder", SCRIPT, "a\0b", "x" * 5_000):
            markup = get(page, "status/", code=404, database=failed, app=name)

            assert "There is no app" in words(markup)
            assert "<script" not in markup
            assert ("Did you mean ledger?" in words(markup)) is (name == "legder")

    def test_of_an_empty_database(self, page: Client, scratch: str) -> None:
        said = words(get(page, "status/", database=scratch))

        assert re.search(r"Schema INVALID: 0/(\d+) applied, \1 pending, 0 failed", said)
        assert connections[scratch].introspection.table_names() == []

    def test_what_runs_at_the_moment(self, page: Client, failed: str) -> None:
        execute(
            failed,
            "UPDATE schema_migration_runs SET success = NULL, started_at = clock_timestamp() "
            "WHERE name = '0002_post'",
        )
        assert "Running now" not in get(page, "status/", database=failed)
        execute(failed, f"SELECT pg_advisory_lock({RUN}, {key_of('public')})")

        said = words(get(page, "status/", database=failed))

        assert "Running now: ledger.0002_post Since" in said
        assert re.search(r"[\d: -]{19} UTC \( \d+ s ago \), by \w+, \S+ on", said)

    def test_queries_do_not_grow(self, page: Client, failed: str) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connections[failed]) as captured:
                get(page, "status/", database=failed)
            return len(captured)

        few = queries()
        add_runs(failed, 500)

        assert queries() == few


class TestHistory:
    def test_lists_the_newest_first(self, page: Client, failed: str) -> None:
        markup = get(page, database=failed)
        said = words(markup)

        assert run_numbers(markup) == [2, 1]
        assert re.search(
            r"2: ledger.0002_post failed [\d: -]{19} \d+ ms \w+ DataError: invalid input", said
        )
        assert re.search(r"1: ledger.0001_initial ok [\d: -]{19} \d+ ms", said)
        assert "Older" not in said
        assert "Newest" not in said

    def test_every_run_is_on_one_page_both_ways(self, page: Client, failed: str) -> None:
        add_runs(failed, 121)
        expected = [run.id for run in read_runs(failed)]
        address: str | None = f"{BASE}?database={failed}&app=&since=900d"
        pages, last = [], ""

        while address:
            last = address
            markup = content(page.get(address))
            pages.append(run_numbers(markup))
            address = (found := linked(markup, "Older")) and BASE + found
        back = [pages[-1]]
        address = BASE + str(linked(content(page.get(last)), "Newer"))
        while address:
            markup = content(page.get(address))
            back.append(run_numbers(markup))
            address = (found := linked(markup, "Newer")) and BASE + found

        assert [number for numbers in pages for number in numbers] == expected
        assert [len(numbers) for numbers in pages] == [50, 50, 23]
        assert back[::-1] == pages
        assert linked(markup, "Newest") is None or run_numbers(markup) == pages[0]

    def test_links_keep_the_filter(self, page: Client, failed: str) -> None:
        add_runs(failed, 400, app="'app_' || n % 2")

        markup = get(page, database=failed, app="app_1", outcome="ok", since="30d")
        older = linked(markup, "Older")
        assert older is not None
        following = content(page.get(BASE + older))

        for name, value in (("app", "app_1"), ("outcome", "ok"), ("since", "30d")):
            assert f"{name}={value}" in older
        assert words(following).count(": app_1.") == 50
        assert f'<option value="{failed}" selected>' in following

    def test_filters(self, page: Client, failed: str) -> None:
        for values in OUTCOMES.values():
            add_runs(failed, 1, app="'shop'", started_at="now() - interval '3 days'", **values)
        add_runs(failed, 1, app="'shop'", name="'0002'", started_at="now() - interval '90 days'")

        for outcome in OUTCOMES:
            said = words(get(page, database=failed, app="shop", outcome=outcome, since="7d"))
            assert len(re.findall(rf"\d+: shop\.\d+ {outcome} ", said)) == 1
            assert len(re.findall(r"\d+: \w+\.\d+ ", said)) == 1
        assert len(run_numbers(get(page, database=failed, app="shop"))) == 6
        assert len(run_numbers(get(page, database=failed, app="shop", since="1d"))) == 0
        assert "Nothing is recorded that fits." in get(page, database=failed, since="2099-01-01")

    @pytest.mark.parametrize(
        ("query", "code", "text"),
        [
            ({"app": "legder"}, 404, "There is no app 'legder'. Did you mean ledger?"),
            ({"outcome": "fialed"}, 404, "There is no outcome 'fialed'. Did you mean failed or"),
            ({"since": "yesterday"}, 400, "'yesterday' is no time: write a date (2026-03-31)"),
            ({"since": "9999999999d"}, 400, "is no time"),
            ({"before": "-1"}, 400, "before=-1 is not the number of a run."),
            ({"after": "9" * 30}, 400, "is not the number of a run."),
            ({"before": SCRIPT}, 400, "is not the number of a run."),
            ({"app": "a\0b"}, 404, "There is no app"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_what_cannot_be_asked(
        self, page: Client, failed: str, query: dict[str, str], code: int, text: str
    ) -> None:
        markup = get(page, code=code, database=failed, **query)

        assert text in words_of_text(markup)
        assert "<script" not in markup
        assert "Show" in markup

    def test_reads_no_traceback_and_shows_the_start_of_an_error(
        self, page: Client, failed: str
    ) -> None:
        add_runs(
            failed, 50, success="false", error="repeat('e', 9000)", traceback="repeat('t', 50000)"
        )

        with CaptureQueriesContext(connections[failed]) as captured:
            markup = get(page, database=failed)

        assert len(markup) < 80_000
        assert not any(re.search(r"(?<!AS )\btraceback\b", q["sql"]) for q in captured)

    def test_queries_do_not_grow(self, page: Client, failed: str) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connections[failed]) as captured:
                get(page, database=failed, app="ledger", outcome="failed", since="7d")
            return len(captured)

        few = queries()
        add_runs(failed, 500)

        assert queries() == few
        assert few <= 6


class TestRun:
    def test_tells_all_of_it(self, page: Client, failed: str) -> None:
        run = read_runs(failed)[0]

        said = words_of_text(get(page, f"{run.id}/change/", database=failed))

        for text in (
            *("Failed", "DataError: invalid input syntax", "While: Raw Python operation."),
            *("SQLSTATE 22P02", "Traceback (most recent call last)", "0002_post.py"),
            *(str(run.checksum), run.database_user, f"{run.os_user} on {run.host}"),
            *(run.command, str(run.batch), f"Hodei {run.hodei_version}"),
            f"Django {run.django_version}",
        ):
            assert text in said

    def test_and_what_belongs_to_it(self, page: Client, failed_copy: str) -> None:
        add_runs(failed_copy, 300)  # another deployment's, in between
        migrate(failed_copy, "ledger")
        runs = {(run.name, run.outcome): run.id for run in read_runs(failed_copy, app="ledger")}
        later = runs["0002_post", "ok"]

        markup = get(page, f"{later}/change/", database=failed_copy)
        attempts, command = markup.split("Other attempts at")[1].split("The same command")

        assert run_numbers(attempts) == [runs["0002_post", "failed"]]
        assert run_numbers(command) == [runs["0003_amount", "ok"]]

    @pytest.mark.parametrize("outcome", OUTCOMES)
    def test_of_every_outcome(self, page: Client, failed: str, outcome: str) -> None:
        add_runs(failed, 1, **OUTCOMES[outcome])
        run = read_runs(failed)[0]

        said = words(get(page, f"{run.id}/change/", database=failed))

        assert f"Run {run.id}: {run.app}.{run.name}" in said
        assert outcome.capitalize() in said
        assert ("Reason: it is meant" in said) is (outcome == "accepted")

    def test_that_is_not_there(self, page: Client, failed: str) -> None:
        for number in ("99", "0", "9" * 19, "9" * 60, "x", "-1", "1.5", SCRIPT):
            answer = page.get(f"{BASE}{number}/change/", {"database": failed})

            assert answer.status_code == 404
            assert "There is no run" in answer.text
            assert "<script>" not in content(answer)
