"""How long a migration may wait for locks, and what that leaves for the rest of it.

A statement that waits for an exclusive lock holds up everybody who comes after it, and a second one
that waits while the first lock is held does so for longer. So an attempt has one budget for all its
waits: after a wait was seen, what is left is the limit of the statements that follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper

    from hodei.schema.run.sidecar import Facts

#: The server counts in milliseconds, and 0 would mean: for ever.
_LEAST = 0.01


class Timeouts:
    """The limits of Django's connection during a run.

    On a session of our own they are set once, and again if a migration's code has reconnected.
    Behind a pooler they are set inside each transaction: the session is somebody else's, too.
    """

    def __init__(self, connection: DatabaseWrapper, facts: Facts, limit: float) -> None:
        self._connection = connection
        self._facts = facts
        self._limit = limit
        self._spent = 0.0
        self._settled: Any = None

    def settle(self) -> bool:
        """Set the session's limits where they are not set. True if the session is a new one."""
        raw = self._connection.connection
        if self._facts.pooled or raw is None or raw is self._settled:
            return False
        self._settled = raw
        self._run(
            f"SELECT set_config('lock_timeout', '{_milliseconds(self._limit)}', false), "
            "set_config('statement_timeout', '0', false)"
        )
        if self._facts.check_interval == "0" and not self._connection.in_atomic_block:
            self._notice_a_dead_client()
        return True

    def begin(self, *, atomic: bool) -> int | None:
        """A new budget: for an attempt, or for all of one transaction. ``atomic``: that is open.
        Returns the server's process behind a pooler, where it is another one each time; None where
        it is not known."""
        self._spent = 0.0
        if not self._facts.pooled or not atomic:
            return None
        cursor = self._run(
            f"SELECT set_config('lock_timeout', '{_milliseconds(self._limit)}', true), "
            "set_config('statement_timeout', '0', true), pg_backend_pid()"
        )
        return int(cursor.fetchone()[2])

    def charge(self, waited: float) -> None:
        """Take a wait off the budget of this attempt; only inside its transaction."""
        self._spent += waited
        left = max(self._limit - self._spent, _LEAST)
        self._run(f"SET LOCAL lock_timeout = '{_milliseconds(left)}'")

    def lift(self) -> None:
        """No limit for what follows: outside a transaction, on a session of our own."""
        if not self._facts.pooled:
            self._run("SET lock_timeout = 0")

    def restore(self) -> None:
        """The usual limit again, after ``lift``."""
        if not self._facts.pooled:
            self._run(f"SET lock_timeout = '{_milliseconds(self._limit)}'")

    def leave(self) -> None:
        """Everything as it was before the run. Never raises: the connection may be gone."""
        from psycopg import Error  # noqa: PLC0415

        raw: Any = self._connection.connection
        if self._settled is None or raw is None or raw is not self._settled:
            return
        facts = self._facts
        try:
            raw.execute(
                "SELECT set_config('lock_timeout', %s, false), "
                "set_config('statement_timeout', %s, false), "
                "set_config('client_connection_check_interval', %s, false)",
                [facts.lock_timeout, facts.statement_timeout, facts.check_interval],
            )
        except Error:
            return

    def _notice_a_dead_client(self) -> None:
        """Or the statement of a killed process would go on to its end, and hold its locks."""
        from psycopg import Error  # noqa: PLC0415

        try:
            self._run("SET client_connection_check_interval = '500ms'")
        except Error:
            # Not every platform of a server can look at its sockets.
            return

    def _run(self, statement: str) -> Any:
        # Past Django's cursor: these are no statements of the migration.
        return self._connection.connection.execute(statement)


def _milliseconds(seconds: float) -> str:
    return f"{max(round(seconds * 1000), 1)}ms"
