"""What is at stake before tables go: their rows, and the sessions that are in them.

    with atomic(using):
        lock_tables(connection, tables)        # nobody writes from here on; pg_dump can still read
        contents = contents_of(connection, tables)

Tables are named without their schema, and are those that the connection's search_path finds; or in
quotes, with it (``"other"."table"``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import Error
from django.db.transaction import atomic

from hodei.schema.errors import SchemaError
from hodei.schema.names import identifier
from hodei.schema.run.failures import is_blocked

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper


class Session(NamedTuple):
    """Another session of this database that holds or waits for a lock on one of the tables."""

    pid: int
    user: str
    application: str
    address: str
    state: str
    #: When its transaction began.
    since: datetime | None
    query: str

    def __str__(self) -> str:
        words = ", ".join(word for word in (self.application, self.user, self.state) if word)
        since = f" since {self.since:%Y-%m-%d %H:%M:%S%z}" if self.since else ""
        query = " ".join(self.query.split())
        if len(query) > 120:
            query = f"{query[:117]}..."
        return f"pid {self.pid} ({words}) at {self.address}{since}{f': {query}' if query else ''}"


class TablesBusy(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """Others hold the tables, and did not let go in time. Nothing was touched."""

    exit_code = 4

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions = tuple(sessions)
        who = "; ".join(map(str, sessions)) or "sessions that could not be seen"
        super().__init__(
            f"The tables could not be locked, so nothing was changed. In the way: {who}. "
            "Wait for these sessions, or end them, and run again."
        )


#: Others can read, and none can write; or nobody can do anything.
EXCLUSIVE, ACCESS_EXCLUSIVE = "EXCLUSIVE", "ACCESS EXCLUSIVE"


def lock_tables(
    connection: DatabaseWrapper, tables: Collection[str], mode: str = EXCLUSIVE
) -> None:
    """Lock them until the caller's transaction ends: in EXCLUSIVE mode others can read, and none
    can write. Waits for as long as the session's lock_timeout. Raises TablesBusy with those in the
    way; the caller's transaction is as it was then, and may try again."""
    if not tables:
        return
    # In the order of their names, so that two who lock the same do not lock crosswise.
    names = ", ".join(identifier(table) for table in sorted(tables))
    try:
        with atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {names} IN {mode} MODE")
    except Error as error:
        if not is_blocked(error):
            raise
        with connection.cursor() as cursor:
            raise TablesBusy(sessions_in(cursor, tables, against=mode)) from error


class Content(NamedTuple):
    """What a table holds. Two are equal where no row was written, changed or deleted between."""

    #: Counted: an estimate may say zero where there are some.
    rows: int
    #: Of the transactions that have written these rows: each one that commits leaves another mark.
    mark: int


def contents_of(connection: DatabaseWrapper, tables: Collection[str]) -> dict[str, Content]:
    """Read each table once. A table that was only rewritten (VACUUM FULL) holds the same."""
    contents = {}
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(
                "SELECT count(*), coalesce(sum(hashtextextended(xmin::text, 0)), 0)::numeric "
                f"FROM {identifier(table)}"
            )
            rows, mark = cursor.fetchone()
            contents[table] = Content(rows, int(mark))
    return contents


def sessions_in(
    cursor: Any, tables: Collection[str], *, against: str | None = None
) -> list[Session]:
    """The other client sessions with a lock on one of the tables, granted or waited for; with
    ``against``, a mode of ``lock_tables``, those alone whose locks keep it from being taken."""
    in_the_way = {
        None: "",
        EXCLUSIVE: "AND held.granted AND held.mode <> 'AccessShareLock'",
        ACCESS_EXCLUSIVE: "AND held.granted",
    }[against]
    # A transaction sees the sessions that were there when it looked first, unless it asks anew.
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(
        f"""
        SELECT activity.pid, coalesce(activity.usename, ''), activity.application_name,
               CASE WHEN activity.backend_type IS NULL THEN 'an address that is not shown'
                    ELSE coalesce(host(activity.client_addr), 'a local socket') END,
               coalesce(activity.state, ''), activity.xact_start, left(activity.query, 500)
          FROM pg_stat_activity activity
         WHERE activity.pid <> pg_backend_pid() AND activity.usesysid IS NOT NULL
           -- Of a session of another role, one that may not read all statistics sees no type.
           AND coalesce(activity.backend_type, 'client backend') = 'client backend'
           AND EXISTS (
               SELECT FROM pg_locks held
                WHERE held.pid = activity.pid AND held.locktype = 'relation'
                  {in_the_way}
                  AND held.relation IN (SELECT to_regclass(name) FROM unnest(%s::text[]) name)
                  AND held.database = (SELECT oid FROM pg_database
                                        WHERE datname = current_database()))
         ORDER BY activity.xact_start NULLS LAST, activity.pid
        """,
        [[identifier(table) for table in tables]],
    )
    return [Session(*row) for row in cursor.fetchall()]
