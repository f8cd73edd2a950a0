"""The pages where there is nothing to show: they are there, and say why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.db import connections
from django.test import Client

# Before a test takes the apps away that the project's URLs need when they are imported.
import hodei.urls  # noqa: F401
from tests.schema.test_admin.backoffice import office
from tests.schema.test_admin.reading import (
    PAGES,
    SCRIPT,
    execute,
    get,
    post,
    run_numbers,
    words,
    words_of_text,
)

pytestmark = pytest.mark.django_db

NOWHERE = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "lost",
    "USER": "me",
    "PASSWORD": "x",
    "HOST": "127.0.0.1",
    "PORT": "1",
}


Install = Callable[..., None]


class TestTrouble:
    """The pages are there where there is nothing to show, and say why."""

    def test_a_database_that_cannot_be_reached(
        self, page: Client, point_alias: Callable[..., str]
    ) -> None:
        alias = point_alias(NOWHERE)

        pages = [get(page, path, database=alias) for path in ("", "status/", "1/change/")]

        for markup in (*pages, post(page, database=alias)):
            assert "Could not verify Cannot use database 'lost' at 127.0.0.1:1" in words(markup)

    def test_that_begins_a_transaction_with_each_request(
        self, page: Client, point_alias: Callable[..., str], settings: Any
    ) -> None:
        alias = point_alias(NOWHERE, ATOMIC_REQUESTS=True)
        # A site asks for the databases of the project when it makes its addresses.
        project = ModuleType("project")
        project.urlpatterns = office()  # type: ignore[attr-defined]
        settings.ROOT_URLCONF = project

        for path in PAGES:
            assert alias in words(get(page, path, database=alias))

    def test_a_database_that_was_never_migrated(self, page: Client, scratch: str) -> None:
        history = words(get(page, database=scratch))
        run = words(get(page, "1/change/", code=404, database=scratch))
        compared = words(post(page, database=scratch))

        assert "Nothing is recorded in this database." in history
        assert "There is no run 1 in the history of database 'scratch'." in run
        assert "Nothing was compared" in compared
        assert connections[scratch].introspection.table_names() == []

    def test_an_alias_that_is_not_there(self, page: Client) -> None:
        for path in PAGES:
            said = words(get(page, path, code=404, database="defualt"))
            assert "There is no database 'defualt'. Did you mean default?" in said
        assert "There is no database" in words(post(page, code=404, database=SCRIPT))

    def test_another_engine(
        self, page: Client, point_alias: Callable[..., str], tmp_path: Path
    ) -> None:
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "db"})

        pages = [get(page, path, database=alias) for path in ("", "status/", "1/change/")]

        for markup in (*pages, post(page, database=alias)):
            assert "Hodei works on PostgreSQL alone" in words(markup)

    def test_files_that_make_no_graph(self, page: Client, failed: str, install: Install) -> None:
        install("ledger", "orphaned")

        for said in (
            words(get(page, "status/", database=failed)),
            words(post(page, database=failed)),
        ):
            assert "Cannot work like this" in said
            assert "The migrations on disk make no graph" in said
        assert run_numbers(get(page, database=failed)) == [2, 1]

    def test_a_migration_that_cannot_be_imported(
        self,
        page: Client,
        failed: str,
        settings: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        package = tmp_path / "torn"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "0001_initial.py").write_text(f"raise RuntimeError({SCRIPT!r})\n")
        monkeypatch.syspath_prepend(tmp_path)
        settings.MIGRATION_MODULES = {"ledger": "torn"}

        with caplog.at_level(logging.ERROR, "hodei.schema.admin"):
            markups = [get(page, "status/", database=failed), post(page, database=failed)]

        for markup in markups:
            assert f"an error of their own: RuntimeError: {SCRIPT}" in words_of_text(markup)
            assert "<script" not in markup
        assert len([record for record in caplog.records if record.exc_info]) == 2

    def test_a_role_that_may_not_read_the_history(self, page: Client, failed_copy: str) -> None:
        role = f"{connections[failed_copy].settings_dict['NAME']}_reader"
        execute(failed_copy, f"CREATE ROLE {role}; GRANT SELECT ON django_migrations TO {role}")
        try:
            execute(failed_copy, f"SET ROLE {role}")
            said = [words(get(page, path, database=failed_copy)) for path in ("", "status/")]
            execute(failed_copy, "RESET ROLE")
        finally:
            connections[failed_copy].close()
            execute(failed_copy, f"DROP OWNED BY {role}; DROP ROLE {role}")

        for one in said:
            assert "permission denied for table schema_migration_runs" in one
            assert "Could not use database" in one
