"""The test app ``vineyard``, for those who undo it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import connections

Install = Callable[..., None]
Applied = Callable[..., str]

HOSTILE = 'Press "of" 100%; DROP TABLE vineyard_vine -- ü'
QUOTED = '"Press ""of"" 100%; DROP TABLE vineyard_vine -- ü"'


VINES = (
    "INSERT INTO vineyard_plant (name, title, age) VALUES ('a name of 17 chars', 'x', 0), "
    "('short', NULL, 0), ('old', NULL, 80)"
)


def migrate(alias: str, *target: str, **options: Any) -> None:
    call_command("migrate", *target, database=alias, verbosity=0, **options)


def run(alias: str, sql: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)


@contextmanager
def session_on(alias: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of somebody else, who does not wait long."""
    connection: Any = connections[alias]
    connection.ensure_connection()
    info = connection.connection.info
    with psycopg.connect(
        info.dsn, password=info.password, autocommit=True, application_name="somebody"
    ) as session:
        session.execute("SET lock_timeout = '5s'")
        yield session
