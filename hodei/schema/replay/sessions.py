"""A connection of one's own: for reading a catalog, and for building what is never kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from hodei.schema.connection import connection_errors, require_postgresql

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: No lock of ours on a real table waits longer than this.
LOCK_TIMEOUT = "2s"
STATEMENT_TIMEOUT = "10s"


class CommitRefused(RuntimeError):  # noqa: N818  (it reads as the fact it states)
    """Something tried to keep what is thrown away here. It is a fault of the code that did."""


@contextmanager
def private_connection(using: str) -> Iterator[BaseDatabaseWrapper]:
    """A new connection that this thread finds under the alias until the block ends.

    The caller's connection, and a transaction it may be in, are put aside; so what looks up the
    alias inside the block (``atomic(using)``, ``connections[using]``) gets this one. It is direct
    even where the alias has a pool, and it is closed at the end, which frees all it holds.
    """
    callers = require_postgresql(using)
    own = callers.copy()
    own.settings_dict["OPTIONS"] = {
        name: value
        for name, value in (own.settings_dict.get("OPTIONS") or {}).items()
        if name != "pool"
    }
    connections[using] = own
    try:
        with connection_errors(using):
            yield own
    finally:
        connections[using] = callers
        own.close()


@contextmanager
def never_kept(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """A transaction that is always rolled back; a commit, which nobody has a right to, raises."""

    def refuse() -> None:
        raise CommitRefused("This transaction is only ever rolled back.")

    wrapper: Any = connection
    wrapper._commit = refuse  # noqa: SLF001  (Django's one place that commits)
    with transaction.atomic(using=connection.alias, durable=True):
        try:
            yield
        finally:
            transaction.set_rollback(True, using=connection.alias)


def set_timeouts(connection: BaseDatabaseWrapper) -> None:
    """Bound the waits of this transaction, and of no other."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
        # So that the server notices a killed client in the middle of a statement, where it can.
        cursor.execute(
            "DO $$ BEGIN PERFORM set_config('client_connection_check_interval', '500', true); "
            "EXCEPTION WHEN OTHERS THEN NULL; END $$"
        )
