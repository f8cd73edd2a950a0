"""The tables of the test database, for tests that commit: others look at them over connections of
their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections


class Tables:
    """What a test says to the tables, and asks of them, on Django's connection."""

    def execute(self, sql: str, parameters: Any = None) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql, parameters)

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def value(self, sql: str, parameters: Any = None) -> Any:
        ((found,),) = self.rows(sql, parameters)
        return found


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """In place of pytest-django's, which empties every table of the project after each test. It
    makes a test database only where a fixture of this name is asked for."""
    with django_db_blocker.unblock():
        assert connections["default"].settings_dict["NAME"].startswith("test_")
        yield
        connections["default"].close()
