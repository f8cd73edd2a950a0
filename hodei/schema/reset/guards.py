"""What must be so before anything is dropped. Each refusal leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from django.db import Error
from django.db.transaction import atomic

from hodei.schema import conf
from hodei.schema.errors import SchemaError
from hodei.schema.run.failures import is_blocked, sqlstate_of
from hodei.schema.stakes import (
    ACCESS_EXCLUSIVE,
    Content,
    Session,
    TablesBusy,
    lock_tables,
    sessions_in,
)

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper

Tell = Callable[[str], None]

_STILL_NEEDED = "2BP01"
#: How long the server may take to end a session, in milliseconds.
_END_WAIT_MS = 5_000


class ResetNotAllowed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The settings do not allow a reset."""


class ResetNotConfirmed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """What was typed is not the database's name."""


class ResetRefused(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """Something stands in the way that only a person can remove."""

    def __init__(self, obstacles: Sequence[str]) -> None:
        self.obstacles = tuple(obstacles)
        lines = "".join(f"\n  {obstacle}" for obstacle in obstacles)
        super().__init__(f"The schema cannot be reset, and nothing was changed:{lines}")


class SchemaChanged(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The schema is another one than was looked at and confirmed."""


class RowsChanged(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """Rows were written or deleted after they were counted and confirmed. ``counts`` has, of each
    table that differs, its number then and now, which may be the same."""

    def __init__(self, counts: Mapping[str, tuple[int, int]]) -> None:
        self.counts = dict(counts)
        told = ", ".join(_changed(table, *both) for table, both in counts.items())
        super().__init__(
            f"Rows were written after they were counted, so nothing was changed: {told}. Stop what "
            "writes into these tables, and run again."
        )


class SessionsNotEnded(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The role may not end these sessions, or the server has not done so."""

    exit_code = 3


def check_allowed() -> None:
    """Raise ResetNotAllowed unless the settings say so."""
    if not conf.allows_reset():
        raise ResetNotAllowed(
            "The settings do not allow a reset, so nothing was changed. Where it is meant, set "
            "HODEI_ALLOW_RESET = True; in DEBUG it is on by itself."
        )


def check_confirmed(confirmed: str, database: str) -> None:
    """Raise ResetNotConfirmed unless the database's own name was given."""
    if confirmed != database:
        raise ResetNotConfirmed(
            f"{confirmed!r} is not the name of this database, which is {database!r}, so nothing "
            "was changed."
        )


def check_rows(then: Mapping[str, Content], now: Mapping[str, Content]) -> None:
    """Raise RowsChanged where they are not the same rows."""
    changed = {name: (then[name].rows, now[name].rows) for name in then if then[name] != now[name]}
    if changed:
        raise RowsChanged(changed)


def _changed(table: str, then: int, now: int) -> str:
    if then == now:
        return f"{table} has {now:,} as before, and not the same ones"
    return f"{table} had {then:,} and has {now:,}"


def hold(
    connection: DatabaseWrapper, tables: Collection[str], mode: str, *, terminate: bool, tell: Tell
) -> None:
    """Lock the tables until the caller's transaction ends; those in the way are ended if
    ``terminate``. Raises TablesBusy, SessionsNotEnded."""
    _insist(
        connection,
        lambda: lock_tables(connection, tables, mode),
        terminate=terminate,
        tell=tell,
    )


def execute_all(
    connection: DatabaseWrapper,
    statements: Sequence[str],
    around: Collection[str],
    *,
    terminate: bool,
    tell: Tell,
) -> None:
    """Run the statements in the caller's transaction, all or none. They may want a lock on tables
    beside their own, named by ``around``: what a foreign key refers to. Raises as ``hold`` does,
    and ResetRefused where the server says that something else depends on what they drop."""

    def run() -> None:
        try:
            with atomic(connection.alias), connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        except Error as error:
            if sqlstate_of(error) == _STILL_NEEDED:
                raise ResetRefused([" ".join(str(error).split())]) from error
            if not is_blocked(error):
                raise
            with connection.cursor() as cursor:
                found = sessions_in(cursor, around, against=ACCESS_EXCLUSIVE)
            raise TablesBusy(found) from error

    _insist(connection, run, terminate=terminate, tell=tell)


def _insist(
    connection: DatabaseWrapper, attempt: Callable[[], None], *, terminate: bool, tell: Tell
) -> None:
    try:
        attempt()
    except TablesBusy as busy:
        if not terminate or not busy.sessions:
            raise
        end_sessions(connection, busy.sessions, tell)
        attempt()


def end_sessions(connection: DatabaseWrapper, sessions: Sequence[Session], tell: Tell) -> None:
    """End these sessions, and say whom. Raises SessionsNotEnded."""
    for session in sessions:
        try:
            with atomic(connection.alias), connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, %s)", [session.pid, _END_WAIT_MS])
                (ended,) = cursor.fetchone()
        except Error as error:
            words = " ".join(str(error).split())
            raise SessionsNotEnded(
                f'A session in the way could not be ended ("{words}"), so nothing was changed: '
                f"{session}. End it with a role that may (pg_signal_backend), and run again."
            ) from error
        if not ended:
            raise SessionsNotEnded(
                f"A session in the way did not end in time, so nothing was changed: {session}."
            )
        tell(f"ended {session}")
