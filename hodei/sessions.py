"""Connections of an agent's own (worker, relay, runner), made as Django's connection is made.

They are plain psycopg connections in autocommit: with prepared statements, and never in a
transaction that somebody forgot.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.postgresql.base import DatabaseWrapper

#: Share of a client's patience after which the server gives up a statement.
SERVERS_SHARE = 0.8
#: PostgreSQL's limit for names, application_name among them.
_NAME_BYTES = 63


def connect(using: str, name: str, *, patience: float | None = None) -> psycopg.Connection[Any]:
    """Open a connection as the alias does; the caller closes it. ``name`` is what the server shows.

    Its statements have no time limit but the alias's own; with ``patience`` each ends within so
    many seconds, in an error at the latest: the server's, or ours where the server does not answer.
    Raises psycopg.OperationalError.
    """
    import psycopg  # noqa: PLC0415  (there may be no driver where this is only imported)

    wrapper: DatabaseWrapper = connections[using]  # type: ignore[assignment]
    # The embedded server starts with the first connection, and this may be it.
    getattr(wrapper, "ensure_server", lambda: None)()
    parameters: dict[str, Any] = wrapper.get_connection_params()
    for unwanted in ("context", "cursor_factory", "pool"):
        parameters.pop(unwanted, None)
    parameters.update(
        application_name=f"{name} {owner_name()}".encode()[:_NAME_BYTES].decode(errors="ignore"),
        autocommit=True,
        prepare_threshold=2,
    )
    parameters.setdefault("connect_timeout", 10)
    # A peer that is gone without a word is noticed within half a minute.
    parameters.setdefault("keepalives_idle", 10)
    parameters.setdefault("keepalives_interval", 5)
    parameters.setdefault("keepalives_count", 3)
    # Those are for a connection that is silent; this is for one on which something was sent.
    parameters.setdefault("tcp_user_timeout", 25_000)
    kind: type[psycopg.Connection[Any]] = psycopg.Connection
    if patience is not None:
        from hodei import patience as limits  # noqa: PLC0415

        kind = limits.of(patience)
    session = kind.connect(**parameters)
    try:
        role = wrapper.settings_dict["OPTIONS"].get("assume_role")
        if role:
            session.execute(psycopg.sql.SQL("SET ROLE {}").format(psycopg.sql.Identifier(role)))
        if is_pooled(session):
            # The next statement may run on another session, which knows nothing of it.
            session.prepare_threshold = None
        elif patience is not None:
            # What nobody waits for any more must not be done after all.
            limit = f"{int(patience * SERVERS_SHARE * 1000)}ms"
            session.execute("SELECT set_config('statement_timeout', %s, false)", [limit])
    except BaseException:
        session.close()
        raise
    return session


def is_pooled(session: psycopg.Connection[Any]) -> bool:
    """Whether a pooler stands in between: it gives its clients process numbers of its own."""
    row = session.execute("SELECT pg_backend_pid()").fetchone()
    return row is None or row[0] != session.info.backend_pid


def owner_name() -> str:
    """This process among all of all machines."""
    return f"{socket.gethostname()}-{os.getpid()}"
