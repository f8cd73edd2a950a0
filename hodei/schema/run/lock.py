"""One ``migrate`` at a time for each database and schema: an advisory lock that dies with its
holder, and never a row that somebody has to delete.

It is polled for in autocommit. A session that blocks in pg_advisory_lock() holds a snapshot, and
CREATE INDEX CONCURRENTLY, which the holder may be running, waits for every snapshot: one of the two
would be shot as a deadlock, and leave an invalid index.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from hodei.schema.errors import SchemaError

if TYPE_CHECKING:
    import psycopg

#: The first of the two numbers of the lock: what pg_locks shows as classid. See Note [Two locks].
RUN = 0x686F6465
WORK = 0x686F6466

_FIRST_PAUSE = 0.025
_LONGEST_PAUSE = 0.5
_SECONDS_BETWEEN_NOTICES = 5.0

# Note [Two locks]
# RUN is held on a session of its own, which no migration's code can close. When its holder is
# killed the server notices at once, while the statement that the holder had sent, or a COMMIT that
# was on its way, may still be going on over Django's connection. So the one that works holds WORK
# over that connection, and the next one begins when both are free.


class LockNotFree(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """Another ``migrate`` has held the lock for longer than this one would wait."""

    exit_code = 4


class Holder(NamedTuple):
    """The session that holds a lock, as the server knows it."""

    pid: int
    application: str
    address: str
    since: datetime | None

    def __str__(self) -> str:
        since = f" since {self.since:%Y-%m-%d %H:%M:%S%z}" if self.since else ""
        application = f" ({self.application})" if self.application else ""
        return f"pid {self.pid}{application} at {self.address}{since}"


Tell = Callable[[str], None]


def key_of(schema: str) -> int:
    """The second number: the server keeps the locks of each database apart, so the schema's name
    is enough, and holds behind a pooler that calls the database something else."""
    number = zlib.crc32(schema.encode())
    return number - 2**32 if number >= 2**31 else number


@contextmanager
def run_lock(
    session: psycopg.Connection[Any], schema: str, *, wait: float, tell: Tell, pooled: bool
) -> Iterator[float]:
    """Hold RUN inside the block; yields the instant (``time.monotonic``) until which one may wait.

    Behind a pooler the lock is a transaction's, which stays open in the block: a session's would be
    shared with, or left to, whoever gets the server's session next. Raises LockNotFree.
    """
    deadline = time.monotonic() + wait
    taking = f"pg_try_advisory_{'xact_' if pooled else ''}lock({RUN}, {key_of(schema)})"

    def attempt() -> bool:
        if not pooled:
            return _answer(session, f"SELECT {taking}")
        session.execute("BEGIN")
        if _answer(session, f"SELECT {taking}"):
            session.execute(
                "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0"
            )
            return True
        # Nobody waits inside a transaction: it would hold up what the holder builds.
        session.execute("ROLLBACK")
        return False

    from psycopg import Error  # noqa: PLC0415

    poll(attempt, deadline, lambda: holders(session, RUN, schema), tell)
    try:
        yield deadline
    finally:
        # A session's own lock goes with the session; a pooler's lives on, and is given back clean.
        if pooled:
            with suppress(Error):
                session.execute("ROLLBACK")


def poll(
    attempt: Callable[[], bool],
    deadline: float,
    who: Callable[[], list[Holder]],
    tell: Tell,
) -> None:
    """Try until it works; every few seconds say who is in the way. Raises LockNotFree."""
    started, pause = time.monotonic(), _FIRST_PAUSE
    notice = started + 1.0
    while not attempt():
        now = time.monotonic()
        if now >= deadline:
            raise LockNotFree(
                f"Another migrate holds the lock of this database: {_names(who())}. "
                f"Waited {now - started:.0f} s, and changed nothing. Wait for it to end, and run "
                "again; migrate waits longer with --lock-wait."
            )
        if now >= notice:
            tell(f"waiting for another migrate, {now - started:.0f} s: {_names(who())}")
            notice = now + _SECONDS_BETWEEN_NOTICES
        time.sleep(min(pause * random.uniform(0.5, 1.0), max(deadline - now, 0.001)))  # noqa: S311
        pause = min(pause * 2, _LONGEST_PAUSE)


def holders(session: psycopg.Connection[Any], kind: int, schema: str) -> list[Holder]:
    """Who holds this lock at the moment."""
    rows = session.execute(
        f"""
        SELECT holder.pid, coalesce(activity.application_name, ''),
               coalesce(host(activity.client_addr), 'a local socket'),
               coalesce(activity.xact_start, activity.backend_start)
          FROM pg_locks holder LEFT JOIN pg_stat_activity activity USING (pid)
         WHERE {held(kind, schema, "holder")}
         ORDER BY holder.pid
        """
    ).fetchall()
    return [Holder(*row) for row in rows]


def held(kind: int, schema: str | None, alias: str) -> str:
    """SQL: whether the row ``alias`` of pg_locks is this lock, and held; None is any schema's."""
    number = "" if schema is None else f"AND {alias}.objid = {key_of(schema) % 2**32} "
    return (
        f"{alias}.locktype = 'advisory' AND {alias}.granted AND {alias}.objsubid = 2 "
        f"AND {alias}.classid = {kind} {number}"
        f"AND {alias}.database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )


def _names(holders: list[Holder]) -> str:
    return "; ".join(map(str, holders)) or "it has just let go"


def _answer(session: psycopg.Connection[Any], statement: str) -> bool:
    row = session.execute(statement).fetchone()
    return bool(row and row[0])
