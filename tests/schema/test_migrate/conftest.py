from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest


@pytest.fixture
def another(database: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    """A session of somebody else."""
    with psycopg.connect(
        dbname=database["NAME"],
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=database["PASSWORD"],
        application_name="somebody",
        autocommit=True,
    ) as connection:
        yield connection
