"""The tables of the test database, for tests that commit: others look at them over connections of
their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction

#: Bytes up to which the planner takes a table that was never analysed for one of this size.
UNKNOWN = 10 * 8192


def empty(tables: str) -> None:
    """Delete all rows of these tables, given as in SQL: what refers to them must be among them.

    It waits for whoever still uses them, as TRUNCATE does, which costs ten times as much and is
    for tables that have grown or have statistics: for the planner the others are as new. What
    refuses deletes, and what notes them, are triggers, which rest meanwhile.
    """
    deletes = "; ".join(f"DELETE FROM {table}" for table in tables.split(", "))
    with transaction.atomic(), connections["default"].cursor() as cursor:
        cursor.execute(
            f"LOCK TABLE {tables}; SET LOCAL session_replication_role = replica; {deletes}"
        )
        cursor.execute(
            "SELECT FROM pg_class WHERE oid = ANY (%s::regclass[]) "
            "AND (reltuples <> -1 OR pg_relation_size(oid) > %s) LIMIT 1",
            [tables.split(", "), UNKNOWN],
        )
        if cursor.fetchone() is not None:
            cursor.execute(f"TRUNCATE {tables}")


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
