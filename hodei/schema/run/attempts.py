"""One attempt at one migration: what is known of it while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hodei.schema.results import Direction, MigrationResult

if TYPE_CHECKING:
    from django.db.migrations import Migration
    from django.db.migrations.operations.base import Operation


class Attempt:
    """``write`` records its success, inside the transaction that is open then."""

    def __init__(
        self,
        migration: Migration,
        direction: Direction,
        number: int,
        *,
        checksum: str | None,
        role: str,
        begun: Callable[[], None],
        write: Callable[[Attempt], None],
        at: Callable[[str], None],
    ) -> None:
        self.migration = migration
        self.direction = direction
        #: From 1: the first attempt.
        self.number = number
        #: Whether anything was run: a fake is only recorded.
        self.faked = True
        #: While the records are being written: Django's calls itself for replaced migrations.
        self.recording = False
        self.recorded = False
        #: What it was doing last, for the record of a failure.
        self.doing: str | None = None
        self._checksum = checksum
        self._role = role
        self._begun = begun
        self._write = write
        self._at = at
        self._started_at = datetime.now(UTC)
        self._start = time.perf_counter()

    @property
    def duration_ms(self) -> int:
        return round((time.perf_counter() - self._start) * 1000)

    def ran(self) -> None:
        """The migration begins to run, inside its transaction if it has one."""
        self.faked = False
        self._begun()

    def record(self, django: Callable[[], Any]) -> None:
        """Write Django's record and ours, once."""
        self.recording = True
        try:
            with self.operation("record"):
                django()
                self._write(self)
        finally:
            self.recording = False
        self.recorded = True

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Inside the block this is what it is doing. After an error the name stays."""
        self.doing = name
        self._at(name)
        yield
        self.doing = None

    @contextmanager
    def operations(self, migration: Migration) -> Iterator[None]:
        """Inside the block, know which of the migration's operations is running."""
        for operation in migration.operations:
            for method in ("database_forwards", "database_backwards"):
                vars(operation)[method] = self._noted(operation, getattr(operation, method))
        try:
            yield
        finally:
            for operation in migration.operations:
                for method in ("database_forwards", "database_backwards"):
                    vars(operation).pop(method, None)

    def result(self, error: str | None) -> MigrationResult:
        return MigrationResult(
            app=self.migration.app_label,
            name=self.migration.name,
            direction=self.direction,
            started_at=self._started_at,
            duration_ms=self.duration_ms,
            success=error is None,
            error=error,
            checksum=self._checksum,
            applied_by=self._role,
        )

    def _noted(self, operation: Operation, run: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **options: Any) -> Any:
            with self.operation(operation.describe()):
                return run(*args, **options)

        return noted
