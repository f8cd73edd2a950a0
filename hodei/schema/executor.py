"""Django's migration executor, with every run timed and told; and its way into ``migrate``.

``migrate`` builds its executor from a name in its own module and offers no other door (Django 5.2
to 6.1), so that one name is exchanged while the command runs. Nothing else of Django is patched:
plans, signals, content types and permissions are those of the stock command.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.management.commands import migrate
from django.db.migrations.executor import MigrationExecutor

from hodei.schema.results import Direction, MigrationResult
from hodei.schema.sources import checksum_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations import Migration
    from django.db.migrations.state import ProjectState

Record = Callable[[MigrationResult], None]

# The name in its module that migrate builds its executor from.
_DOOR = "MigrationExecutor"

# Reentrant: a migration's own code may call migrate again, for another database.
_exchange = threading.RLock()


class RecordingExecutor(MigrationExecutor):
    """Tells ``record`` of every migration that was applied or unapplied, in that order, and of the
    one that failed, whose exception then goes on to the caller.

    A migration that Django fakes is told too: it is recorded as applied, in no time.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        progress_callback: Callable[..., Any] | None = None,
        *,
        record: Record,
    ) -> None:
        super().__init__(connection, progress_callback)
        self._record = record
        self._role: str | None = None

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,  # noqa: FBT001, FBT002  (Django's signature)
        fake_initial: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        with self._recorded(migration, Direction.FORWARD):
            return super().apply_migration(state, migration, fake, fake_initial)

    def unapply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        with self._recorded(migration, Direction.BACKWARD):
            return super().unapply_migration(state, migration, fake)

    @contextmanager
    def _recorded(self, migration: Migration, direction: Direction) -> Iterator[None]:
        if self._role is None:
            self._role = _current_role(self.connection)
        started_at = datetime.now(UTC)
        start = time.perf_counter()
        error: str | None = None
        try:
            yield
        except BaseException as failure:
            error = describe(failure)
            raise
        finally:
            duration = time.perf_counter() - start
            self._record(
                MigrationResult(
                    app=migration.app_label,
                    name=migration.name,
                    direction=direction,
                    started_at=started_at,
                    duration_ms=round(duration * 1000),
                    success=error is None,
                    error=error,
                    checksum=checksum_of(migration),
                    applied_by=self._role,
                )
            )


@contextmanager
def recording(record: Record) -> Iterator[None]:
    """Inside the block, ``migrate`` called from this thread runs on RecordingExecutor.

    One thread at a time may be inside; another that calls ``migrate`` plainly meanwhile gets
    Django's executor, as it would have without us.
    """
    with _exchange:
        found: Callable[..., MigrationExecutor] = getattr(migrate, _DOOR)
        thread = threading.get_ident()

        def build(
            connection: BaseDatabaseWrapper, progress_callback: Callable[..., Any] | None = None
        ) -> MigrationExecutor:
            if threading.get_ident() != thread:
                return found(connection, progress_callback)
            return RecordingExecutor(connection, progress_callback, record=record)

        setattr(migrate, _DOOR, build)
        try:
            yield
        finally:
            setattr(migrate, _DOOR, found)


def describe(error: BaseException) -> str:
    """What went wrong, on one line: the class, the words, and the SQLSTATE where there is one."""
    words = " ".join(str(error).split())
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    told = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return f"{told} (SQLSTATE {sqlstate})" if sqlstate else told


def _current_role(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        row = cursor.fetchone()
    return str(row[0]) if row else ""
