"""Sessions of our own beside Django's connection, and what a run has to know of that connection.

A migration's code may close Django's connection, and a transaction that fails takes its rows with
it. So what must outlive a migration, the lock and the record of a failure, has its own session.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hodei.schema.connection import connection_errors
from hodei.schema.status import MigrationTableHidden

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.postgresql.base import DatabaseWrapper

#: PostgreSQL's limit for names, application_name among them.
_NAME_BYTES = 63
_TURNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What Django's connection says of itself before a run."""

    role: str
    #: Where its unqualified tables are made: the history is there, too, and the lock is its.
    schema: str
    pid: int
    #: Whether something stands between us and the server, so that a session may not be ours.
    pooled: bool
    #: What the run changes, as it was.
    lock_timeout: str
    statement_timeout: str
    check_interval: str


def facts_of(connection: DatabaseWrapper) -> Facts:
    """Ask once, over the connection that will migrate. Raises MigrationTableHidden."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, current_schema(), pg_backend_pid(), "
            "current_setting('lock_timeout'), current_setting('statement_timeout'), "
            "current_setting('client_connection_check_interval')"
        )
        role, schema, pid, lock_timeout, statement_timeout, check_interval = cursor.fetchone()
    if schema is None:
        raise MigrationTableHidden(
            f"Role {role!r} can use no schema in its search_path, so no table can be made: "
            "GRANT USAGE ON SCHEMA to it, or correct its search_path."
        )
    return Facts(
        role=role,
        schema=schema,
        pid=pid,
        # A pooler gives its clients numbers of its own, whichever way it pools.
        pooled=pid != connection.connection.info.backend_pid,
        lock_timeout=lock_timeout,
        statement_timeout=statement_timeout,
        check_interval=check_interval,
    )


def pooled(connection: DatabaseWrapper) -> bool:
    """Whether something stands between us and the server: a pooler gives its clients numbers of its
    own, whichever way it pools."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return bool(pid != connection.connection.info.backend_pid)


def shares_sessions(connection: DatabaseWrapper) -> bool:
    """Whether the pooler gives a client one session of the server after another.

    Never true of one that pools sessions. Two clients of our own ask who they are: in turn they get
    one session, or one of them gets several, if not by a rare chance with a very busy pooler.
    """

    def who(client: psycopg.Connection[Any]) -> Any:
        return client.execute("SELECT pg_backend_pid()").fetchone()

    with (
        open_session(connection, pooled=True) as client,
        open_session(connection, pooled=True) as other,
    ):
        first = who(client)
        for _ in range(_TURNS):
            seen = [who(client)]
            other.execute("BEGIN")
            taken = who(other)
            seen.append(who(client))
            other.execute("ROLLBACK")
            if taken == first or any(one != first for one in seen):
                return True
    return False


def open_session(connection: DatabaseWrapper, *, pooled: bool) -> psycopg.Connection[Any]:
    """Connect once more as this alias does, in autocommit. The caller closes it.

    Raises ConnectionFailed. Statements go by the simple protocol, whose transaction can stay open
    without a snapshot: an idle one would make CREATE INDEX CONCURRENTLY wait for ever.
    """
    import psycopg  # noqa: PLC0415  (this package is imported where there is no driver yet)

    parameters: dict[str, Any] = connection.get_connection_params()
    parameters.pop("context", None)
    parameters.update(
        cursor_factory=psycopg.ClientCursor,
        prepare_threshold=None,
        application_name=_application_name(),
        autocommit=True,
    )
    parameters.setdefault("keepalives_idle", 30)
    with connection_errors(connection.alias), connection.wrap_database_errors:
        session: psycopg.Connection[Any] = psycopg.connect(**parameters)
        try:
            role = connection.settings_dict["OPTIONS"].get("assume_role")
            if role:
                session.execute(psycopg.sql.SQL("SET ROLE {}").format(psycopg.sql.Identifier(role)))
            if not pooled:
                _settle(session)
        except BaseException:
            session.close()
            raise
    return session


def _settle(session: psycopg.Connection[Any]) -> None:
    """Keep an idle session alive, let a dead client's end at once, and wait for no lock long.

    Not through a pooler: it would hand the settings on to somebody else's client.
    """
    from psycopg import Error  # noqa: PLC0415

    session.execute(
        "SELECT set_config('idle_session_timeout', '0', false), "
        "set_config('idle_in_transaction_session_timeout', '0', false), "
        "set_config('statement_timeout', '0', false), "
        "set_config('lock_timeout', '2s', false), "
        # What is written here may be lost with the server, but never after what depends on it.
        "set_config('synchronous_commit', 'off', false)"
    )
    try:
        session.execute("SET client_connection_check_interval = '500ms'")
    except Error:
        # Not every platform of a server can look at its sockets.
        return


def _application_name() -> str:
    name = f"hodei migrate {socket.gethostname()} {os.getpid()}"
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")
