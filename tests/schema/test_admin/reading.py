"""Reading the pages: their addresses, their text, and rows to show on them."""

from __future__ import annotations

import html
import re
from typing import Any

from django.core.management import call_command
from django.db import connections
from django.test import Client

# Before a test takes the apps away that the project's URLs need when they are imported.
import hodei.urls  # noqa: F401
from hodei.schema.history import INTERRUPTED

APPS = "tests.schema.apps"
BASE = "/office/hodei_schema/migrationrun/"
PAGES = ("", "status/", "drift/", "1/change/")
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def migrate(alias: str, *target: str, **options: Any) -> None:
    call_command("migrate", *target, database=alias, verbosity=0, **options)


def execute(alias: str, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def get(page: Client, path: str = "", *, code: int = 200, **query: Any) -> str:
    """The markup of a page's content."""
    answer = page.get(BASE + path, query)
    assert answer.status_code == code, answer.text
    return content(answer)


def post(page: Client, *, code: int = 200, **values: Any) -> str:
    answer = page.post(f"{BASE}drift/", values)
    assert answer.status_code == code, answer.text
    return content(answer)


def content(answer: Any) -> str:
    text = str(answer.text)
    return text[text.index('id="content-start"') : text.index('<footer id="footer">')]


def words(markup: str) -> str:
    """What one reads."""
    text = html.unescape(re.sub(r"<[^>]+>", " ", markup))
    return re.sub(r"\s+", " ", text)


def run_numbers(markup: str) -> list[int]:
    return [int(found) for found in re.findall(r'href="[^"]*/(\d+)/change/[^"]*">\d+:', markup)]


def linked(markup: str, text: str) -> str | None:
    """The address behind a link."""
    found = re.search(rf'<a href="([^"]*)"[^>]*>{text}</a>', markup)
    return html.unescape(found[1]) if found else None


def words_of_text(markup: str) -> str:
    """What one reads, with the white space as it is."""
    return html.unescape(re.sub(r"<[^>]+>", "", markup))


def add_runs(alias: str, number: int, **values: str) -> None:
    """So many rows more, as SQL expressions of ``n``."""
    columns = {
        **dict.fromkeys(("database_user", "os_user", "host", "command", "release"), "'x'"),
        "batch": "gen_random_uuid()",
        "app": "'app_' || n % 7",
        "name": "'000' || n % 40",
        "direction": "'forward'",
        "started_at": f"now() - ({number} - n) * interval '1 minute'",
        "finished_at": "now()",
        "duration_ms": "n % 1000",
        "success": "true",
        "hodei_version": "'0'",
        "django_version": "'5'",
        **values,
    }
    execute(
        alias,
        f"INSERT INTO schema_migration_runs ({', '.join(columns)}) "
        f"SELECT {', '.join(columns.values())} FROM generate_series(1, {number}) n",
    )


#: One migration run of every outcome, as columns.
OUTCOMES = {
    "ok": {},
    "faked": {"event": "'fake'", "duration_ms": "NULL"},
    "accepted": {"event": "'accept'", "reason": "'it is meant'"},
    "failed": {"success": "false", "error": "'E: broken'", "traceback": "'Traceback: here'"},
    "interrupted": {"success": "false", "error": f"'{INTERRUPTED}'", "finished_at": "NULL"},
}
