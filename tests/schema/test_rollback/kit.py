from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.transaction import atomic

from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.catalog.model import Catalog
from hodei.schema.history import TABLE, read_runs
from hodei.schema.results import Direction

MIGRATIONS = "tests.schema.apps.vineyard.migrations"


def rows(alias: str, sql: str) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def catalog(alias: str) -> Catalog:
    with atomic(alias):
        return read_catalog(connections[alias], "public").without(TABLE)


def outcomes(alias: str) -> list[tuple[str, str]]:
    """(migration, outcome) of what was undone, in that order."""
    found = [one for one in read_runs(alias) if one.direction is Direction.BACKWARD]
    return [(one.name, one.outcome) for one in reversed(found)]
