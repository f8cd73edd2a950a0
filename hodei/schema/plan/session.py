"""A session that can only read, for as long as a plan is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import Error, connections

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: What a read waits for a lock of somebody else's, and what it may take.
LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 10_000


@contextmanager
def reading(using: str) -> Iterator[BaseDatabaseWrapper]:
    """A read-only connection under this alias, for the time of the block and for this thread.

    Operations may ask for the connection by its alias, so the alias has to mean this one.
    """
    usual = connections[using]
    connection = usual.copy()
    options = {**connection.settings_dict.get("OPTIONS", {})}
    options.pop("pool", None)
    connection.settings_dict["OPTIONS"] = options
    connections[using] = connection
    try:
        _make_read_only(connection)
        yield connection
    finally:
        if connection.connection is not None:
            connection.rollback()
        connection.close()
        connections[using] = usual


def _make_read_only(connection: BaseDatabaseWrapper) -> None:
    """Begin the one transaction that everything is read in.

    For the session it is set too, in case an operation commits; but not behind a pooler, which
    would hand such a session on to others.
    """
    connection.ensure_connection()
    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        is_pooled = pid != connection.connection.info.backend_pid
        cursor.execute(
            "SELECT set_config('default_transaction_read_only', 'on', %(local)s), "
            "set_config('lock_timeout', %(lock)s, %(local)s), "
            "set_config('statement_timeout', %(statement)s, %(local)s)",
            {
                "local": is_pooled,
                "lock": str(LOCK_TIMEOUT_MS),
                "statement": str(STATEMENT_TIMEOUT_MS),
            },
        )


@contextmanager
def contained(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """What fails inside, passes on its error and leaves the transaction usable and read-only."""
    savepoint = str(connection.savepoint())
    try:
        yield
        connection.savepoint_commit(savepoint)
    except BaseException:
        try:
            connection.savepoint_rollback(savepoint)
        except Error:
            # What was inside has ended the transaction, and begun another.
            connection.rollback()
            connection.set_autocommit(True)
            _make_read_only(connection)
        raise
