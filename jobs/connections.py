"""Django's connections of the threads that run what others wrote, between one call and the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connections

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


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
