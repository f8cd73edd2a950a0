"""What a service asks of the server: its statements, without those that only frame savepoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

_FRAMES = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT", "BEGIN", "COMMIT")


def statements(call: Callable[[], Any]) -> list[str]:
    """The statements of one call on Django's connection, in their order."""
    with CaptureQueriesContext(connection) as captured:
        call()
    texts = [query["sql"] for query in captured.captured_queries]
    return [text for text in texts if not text.startswith(_FRAMES)]
