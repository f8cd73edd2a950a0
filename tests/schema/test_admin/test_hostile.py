"""Whatever is recorded stays text, and secrets and floods stay out."""

from __future__ import annotations

import pytest
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

# Before a test takes the apps away that the project's URLs need when they are imported.
import hodei.urls  # noqa: F401
from tests.schema.test_admin.reading import SCRIPT, execute, get, words_of_text

pytestmark = pytest.mark.django_db


class TestHostile:
    @pytest.mark.parametrize("text", [SCRIPT, "'\"&amp;{{ 7 }}{% now %}", "{} {0} %s %(x)s \u202e"])
    def test_what_is_recorded_stays_text(self, page: Client, failed: str, text: str) -> None:
        names = (
            *("app", "name", "error", "traceback", "sqlstate", "operation", "checksum"),
            *("database_user", "os_user", "host", "command", "release", "reason"),
            *("hodei_version", "django_version"),
        )
        execute(
            failed,
            f"UPDATE schema_migration_runs SET {', '.join(f'{name} = %s' for name in names)}",
            [text] * len(names),
        )
        MigrationRecorder(connections[failed]).record_applied(text, text)

        for markup in (
            get(page, database=failed),
            get(page, database=failed, app=text),
            get(page, "2/change/", database=failed),
            get(page, "status/", database=failed),
        ):
            assert text in words_of_text(markup)
            assert "<script" not in markup
            assert "<img src=x" not in markup
            assert "{% now" not in markup or "{%" in text

    def test_secrets_of_errors_and_commands_are_not_shown(self, page: Client, failed: str) -> None:
        secret = "cannot fetch https://me:hunter2@host.example/: token=hunter2, password='hunter2'"
        execute(
            failed,
            "UPDATE schema_migration_runs SET error = %s, traceback = %s, command = %s "
            "WHERE success IS FALSE",
            [secret] * 3,
        )

        for path in ("", "2/change/", "status/"):
            markup = get(page, path, database=failed)
            assert "hunter2" not in markup
            assert "[redacted]" in markup

    def test_very_long_texts(self, page: Client, failed: str) -> None:
        execute(
            failed,
            "UPDATE schema_migration_runs SET error = repeat('e', 1000000), "
            "traceback = repeat('t', 1000000), host = repeat('h', 5000) WHERE success IS FALSE",
        )

        for path, limit in (("", 20_000), ("2/change/", 200_000), ("status/", 200_000)):
            assert len(get(page, path, database=failed)) < limit
