"""A database of the other program, and somebody else in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.databases import new_database
from tests.schema.homestead import FENCES, PLOTS, session
from tests.schema.test_adopt.kit import Install, execute


@pytest.fixture(scope="package")
def shared(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    with django_db_blocker.unblock(), new_database() as database:
        yield database


@pytest.fixture
def database(shared: dict[str, Any], django_db_blocker: Any) -> dict[str, Any]:
    """One database for all of these tests, empty for each."""
    with django_db_blocker.unblock(), session(shared) as connection:
        connection.execute('DROP SCHEMA IF EXISTS public, attic, "The Attic" CASCADE')
        connection.execute("CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC")
    return shared


@pytest.fixture
def homestead(scratch: str, install: Install) -> str:
    """The alias of a database of the other program."""
    install("homestead")
    execute(scratch, PLOTS + FENCES)
    return scratch


@pytest.fixture
def another(database: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    with session(database) as connection:
        yield connection
