"""Databases of their own for tests that migrate: on the server of the project's settings."""

from __future__ import annotations

import atexit
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import RAN_DB_VERSION_CHECK, BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from psycopg.types.json import Jsonb

#: PostgreSQL's number of the type, which Django hands out undecoded.
JSONB = 3802
#: Of ``pg_locks`` what is in the database of whoever asks: others run tests on the same server.
#: Locks on transactions, and so those on rows, are in no database.
HERE = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
#: The migrations that reproduce the original, and the newest ones.
BASELINE = {"outbox": "0001_baseline", "jobs": "0001_baseline", "sagas": "0001_baseline"}


#: What was opened on other engines, by whatever wrapper, thread or task: to close twice is nothing.
_opened: list[Any] = []


@receiver(connection_created, dispatch_uid="tests.databases")
def _note(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "sqlite":
        _opened.append(connection.connection)


@cache
def server() -> psycopg.Connection[Any]:
    """A session on the server of the project's settings, in none of its test databases. This
    process keeps it: to connect anew costs as much as to make a database."""
    with connections["default"]._nodb_cursor() as cursor:
        info = cursor.db.connection.info
        session = psycopg.connect(info.dsn, password=info.password, autocommit=True)
    atexit.register(session.close)
    return session


@contextmanager
def new_database(template: str = "template0") -> Iterator[dict[str, Any]]:
    """A database in Django's terms, dropped afterwards, whoever still uses it."""
    name = f"hodei_test_{uuid.uuid4().hex[:12]}"
    # Where no write waits for the disk this takes less than the default, to copy and to drop.
    server().execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    info = server().info
    try:
        yield {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "HOST": info.host,
            "PORT": str(info.port),
            "USER": info.user,
            "PASSWORD": info.password,
        }
    finally:
        server().execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def point(alias: str, database: dict[str, Any], **changes: Any) -> None:
    """Let the alias mean this database from now on."""
    forget(alias)
    connections.settings[alias] = {
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "CONN_HEALTH_CHECKS": False,
        "CONN_MAX_AGE": 0,
        "OPTIONS": {},
        "TEST": {"CHARSET": None, "COLLATION": None, "MIGRATE": True, "MIRROR": None},
        "TIME_ZONE": None,
        **database,
        **changes,
    }


def forget(alias: str) -> None:
    """Close what the alias has open, and let it mean nothing."""
    if alias in connections.settings:
        connections[alias].close()
        if connections[alias].vendor == "postgresql":
            connections[alias].close_pool()
        del connections[alias]
        del connections.settings[alias]
    while _opened:
        _opened.pop().close()
    RAN_DB_VERSION_CHECK.discard(alias)


@contextmanager
def alias_of(database: dict[str, Any], alias: str = "migrated") -> Iterator[str]:
    """The database under an alias of its own for the time of the block."""
    point(alias, database)
    try:
        yield alias
    finally:
        forget(alias)


class Migrated:
    """One database, its migrations and its rows."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.alias]

    def migrate(self, app: str | None = None, target: str | None = None) -> None:
        words = [word for word in (app, target) if word]
        call_command("migrate", *words, database=self.alias, interactive=False, verbosity=0)

    def to_baseline(self) -> None:
        for app in ("sagas", "jobs", "outbox"):
            self.migrate(app, BASELINE[app])

    def to_head(self) -> None:
        for app in ("outbox", "jobs", "sagas"):
            self.migrate(app)

    def execute(self, sql: str, parameters: Any = None) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.rowcount

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            is_json = [column.type_code == JSONB for column in cursor.description]
            return [
                tuple(
                    json.loads(value) if decode and value is not None else value
                    for value, decode in zip(row, is_json, strict=True)
                )
                for row in cursor.fetchall()
            ]

    def value(self, sql: str, parameters: Any = None) -> Any:
        ((found,),) = self.rows(sql, parameters)
        return found

    def insert(self, table: str, **values: Any) -> None:
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        self.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",
            [
                Jsonb(value) if isinstance(value, dict | list) else value
                for value in values.values()
            ],
        )
