"""A comparison when it is asked for, and only then; and one at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import Error, connections
from django.test import Client

# Before a test takes the apps away that the project's URLs need when they are imported.
import hodei.urls  # noqa: F401
from hodei.schema.admin import drift
from hodei.schema.errors import SchemaError
from hodei.schema.results import Severity
from tests.schema.test_admin.reading import (
    SCRIPT,
    execute,
    get,
    migrate,
    post,
    words,
    words_of_text,
)

pytestmark = pytest.mark.django_db

Install = Callable[..., None]


class TestDrift:
    def test_a_look_at_the_page_compares_nothing(
        self, page: Client, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("errand")
        migrate(scratch, "errand")
        monkeypatch.setenv("ERRAND_SQL", "SELECT 1/0")

        looked = get(page, "drift/", database=scratch, validate="1")
        asked = words(post(page, database=scratch))

        assert "Compare now" in looked
        assert "hodei-verdict" not in looked
        assert "Could not verify" in asked
        assert "division by zero" in asked

    def test_nothing_is_found(self, page: Client, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch)

        said = words(post(page, database=scratch))

        assert "Schema valid" in said
        assert re.search(r"Compared \d+ tables and views: all are as the migrations make", said)
        assert re.search(r"Begun at [\d: -]{19} UTC, took [\d.]+ m?s", said)

    def test_findings_are_grouped_with_what_would_repair_them(
        self, page: Client, failed_copy: str
    ) -> None:
        execute(
            failed_copy,
            "ALTER TABLE ledger_entry SET UNLOGGED; CREATE TABLE stray (id int); "
            "COMMENT ON TABLE ledger_entry IS 'mine'",
        )

        markup = post(page, database=failed_copy)
        said = words(markup)

        assert "1 failed, 1 drifted, 1 unexpected, 1 cosmetic" in said
        assert "What is not applied is not in this comparison" in said
        places = [
            said.index(text)
            for text in (
                *("Errors (1)", "error unlogged: ledger_entry", "Table ledger_entry Expected"),
                *('ALTER TABLE "ledger_entry" SET LOGGED;', "Warnings (1)", "Table stray"),
                *('DROP TABLE "stray";', "Information (1)", "comment: ledger_entry"),
            )
        ]
        assert places == sorted(places)
        # Suggested, and never run.
        assert execute(failed_copy, "SELECT count(*) FROM stray") == [(0,)]
        assert "which nothing has run" in said

    def test_text_of_the_database_stays_text(self, page: Client, failed_copy: str) -> None:
        name = f'"{SCRIPT}"'
        execute(
            failed_copy,
            f"CREATE TABLE {name} (id int); "
            f"COMMENT ON TABLE ledger_entry IS '{SCRIPT}{{{{ 7 }}}}%s';"
            f"ALTER TABLE ledger_entry ADD COLUMN {name} text DEFAULT '{SCRIPT}'",
        )

        markup = post(page, database=failed_copy)

        assert "<script" not in markup
        assert "<img" not in markup
        assert SCRIPT in words_of_text(markup)
        assert "{{ 7 }}%s" in markup

    def test_a_thousand_findings(self, page: Client, failed_copy: str) -> None:
        columns = ", ".join(f"ADD COLUMN stray_{number} int" for number in range(1_000))
        execute(failed_copy, f"ALTER TABLE ledger_entry {columns}")

        markup = post(page, database=failed_copy)
        said = words(markup)

        assert markup.count("<article") == drift.SHOWN
        assert len(markup) < 400_000
        assert "Warnings (1000)" in said
        assert "unexpected column: 1000" in said
        assert "<details open" not in markup
        assert f"{1_000 - drift.SHOWN} more are not shown." in said
        assert f"schema_validate --database {failed_copy} lists all" in said

    def test_a_huge_text_is_cut(self, page: Client, failed_copy: str) -> None:
        execute(failed_copy, "SELECT 1")
        execute(
            failed_copy,
            f"CREATE FUNCTION long() RETURNS text LANGUAGE sql AS $$ SELECT '{'x' * 300_000}' $$",
        )
        execute(failed_copy, f"COMMENT ON TABLE ledger_entry IS '{'y' * 300_000}'")

        markup = post(page, database=failed_copy)

        assert len(markup) < 400_000
        assert "more characters]" in markup

    def test_an_error_of_the_replay_is_text(
        self, page: Client, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("ledger", "errand")
        migrate(scratch)
        monkeypatch.setenv("ERRAND_SQL", "SELECT id FROM public.ledger_entry FOR UPDATE")

        said = words(post(page, database=scratch))

        assert "Could not verify" in said
        assert "reached out of the scratch schema" in said


@contextmanager
def holding(alias: str) -> Iterator[psycopg.Connection[Any]]:
    """Another process's comparison, as far as its lock goes."""
    connection = connections[alias]
    parameters = connection.get_connection_params()
    kept = {
        name: parameters[name]
        for name in ("host", "port", "dbname", "user", "password")
        if parameters.get(name)
    }
    with psycopg.connect(**kept) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s, 0)", [drift.LOOK])
        yield other


class TestOneComparisonAtATime:
    def test_another_one_is_waited_for(self, failed: str) -> None:
        done: list[bool] = []

        def second() -> None:
            try:
                done.append(drift.compare(failed, patience=60).compared == 1)
            finally:
                connections[failed].close()

        with holding(failed) as other:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join(0.5)
            assert thread.is_alive()
            other.rollback()
            thread.join(60)

        assert done == [True]

    def test_and_given_up_after_a_while(
        self, page: Client, failed: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drift, "PATIENCE", 0.2)

        with holding(failed):
            said = words(post(page, database=failed))

        assert "Could not verify" in said
        assert "Somebody else compares this database at the moment" in said

    def test_a_double_click_replays_one_after_the_other(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("errand")
        migrate(scratch, "errand")
        # A replay that meets another one fails.
        alone = (
            "DO $$ BEGIN IF NOT pg_try_advisory_xact_lock(77) THEN RAISE 'not alone'; END IF; "
            "PERFORM pg_sleep(0.3); END $$"
        )
        monkeypatch.setenv("ERRAND_SQL", alone)
        at_once = threading.Barrier(2)
        found: list[Any] = []

        def click() -> None:
            try:
                at_once.wait(30)
                found.append(drift.compare(scratch, patience=60).compared)
            except (SchemaError, Error) as error:
                found.append(error)
            finally:
                connections[scratch].close()

        threads = [threading.Thread(target=click) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert len(found) == 2
        assert all(isinstance(one, int) for one in found), found


def test_groups_are_by_severity_and_cut() -> None:
    from hodei.schema.results import Finding, FindingKind

    findings = [
        Finding(kind=kind, severity=severity, subject=str(number), message="")
        for number in range(3)
        for kind, severity in (
            (FindingKind.COMMENT, Severity.INFO),
            (FindingKind.MISSING_TABLE, Severity.ERROR),
        )
    ]

    worst, least = drift.groups(findings, shown=2)

    assert (worst.severity, least.severity) == (Severity.ERROR, Severity.INFO)
    assert [finding.subject for finding in worst.findings] == ["0", "1"]
    assert (worst.total, worst.more, worst.kinds) == (3, 1, (("missing table", 3),))
