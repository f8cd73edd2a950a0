"""Django's connections of the threads that run what others wrote, between one call and the next."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)


def tidy(connection: BaseDatabaseWrapper) -> None:
    """Close a connection that is broken or too old, and never one that only CONN_MAX_AGE's default,
    which is for requests, says has served its time. One of Django's pool goes back to it: slots
    that kept theirs would leave the others waiting."""
    if connection.settings_dict["OPTIONS"].get("pool") and not connection.in_atomic_block:
        connection.close()
        return
    if not connection.settings_dict["CONN_MAX_AGE"]:
        connection.close_at = None
    connection.close_if_unusable_or_obsolete()


def tidy_all() -> None:
    """The same for all that this thread has opened."""
    for connection in connections.all(initialized_only=True):
        tidy(connection)


def end_left_all() -> bool:
    """As ``end_left``, for all that this thread has opened."""
    there = connections.all(initialized_only=True)
    # Each of them, whatever the first says.
    left = [end_left(one) for one in there if one.connection is not None]
    return any(left)


def end_left(connection: BaseDatabaseWrapper) -> bool:
    """End a transaction that nobody ends any more, so that it does not take in what the next one
    does. Returns whether something was written in it, which is undone. For a connection that is
    open, in a thread that calls one after the other."""
    if not connection.in_atomic_block and (
        connection.autocommit == connection.settings_dict["AUTOCOMMIT"]
    ):
        return False
    has_written = _has_written(connection)
    # It is as new when it connects again; until then it must not wait for the end of the block.
    connection.in_atomic_block = False
    connection.close()
    return has_written


def tidy_after(*, failed: bool) -> None:
    """Let go, after a run that has failed, of what this thread has that is broken, or left open: it
    may be why, and must not be why the next one does. As ``end_left``, for a slot."""
    if not failed:
        return
    try:
        end_left_all()
        tidy_all()
    except Exception:
        logger.exception("connections could not be tidied")


def _has_written(connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor != "postgresql":
        return True  # nobody can say
    from psycopg import Error  # noqa: PLC0415
    from psycopg.pq import TransactionStatus  # noqa: PLC0415

    session: psycopg.Connection[Any] = connection.connection
    if session.info.transaction_status == TransactionStatus.IDLE:
        return False
    try:
        row = session.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone()
    except Error:
        # What was done in it is undone already.
        return True
    return row is None or bool(row[0])
