"""One run: each migration an attempt, tried again for want of a lock, and put on record.

The executor reports to it; ``statements`` is what passes over its connection.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from django.db.transaction import atomic

from hodei.schema import history, signals
from hodei.schema.errors import SchemaError
from hodei.schema.results import Direction, MigrationKey, MigrationResult
from hodei.schema.run.attempts import Attempt
from hodei.schema.run.failures import (
    MigrationBlocked,
    MigrationFailed,
    describe,
    is_blocked,
    sqlstate_of,
    trace_of,
)
from hodei.schema.run.origin import Origin
from hodei.schema.run.progress import Progress
from hodei.schema.run.statements import Statements
from hodei.schema.run.timeouts import Timeouts
from hodei.schema.run.watch import Blocker, Watch
from hodei.schema.sources import checksum_of

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper
    from django.db.migrations import Migration

_T = TypeVar("_T")

_LONGEST_PAUSE = 30.0
_READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"


class LockLost(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The session that holds the lock is gone, so another run may have begun."""

    exit_code = 3


class MigrationRun:
    """Made by ``migration_run``; the executor reports to it."""

    def __init__(
        self,
        connection: DatabaseWrapper,
        *,
        origin: Origin,
        records: history.History,
        holds: Callable[[], None],
        timeouts: Timeouts,
        watch: Watch,
        statements: Statements,
        retries: int,
        progress: Progress,
    ) -> None:
        #: Of each migration the last attempt, in order; after a failure the last one is it.
        self.results: list[MigrationResult] = []
        self.progress = progress
        self._connection = connection
        self._origin = origin
        self._records = records
        self._holds = holds
        self._timeouts = timeouts
        self._watch = watch
        self._statements = statements
        self._retries = retries
        self._total = 0
        self._blocked: tuple[int, tuple[Blocker, ...]] | None = None
        #: The rows of the history of the attempts that have succeeded.
        self._rows: list[int] = []
        #: What is to be announced once the transaction of several attempts is committed.
        self._unannounced: list[dict[str, object]] | None = None

    def within(self, progress: Progress) -> MigrationRun:
        """A run inside this one, by a migration's code: the same lock, limits and batch."""
        return MigrationRun(
            self._connection,
            origin=self._origin,
            records=self._records,
            holds=self._holds,
            timeouts=self._timeouts,
            watch=self._watch,
            statements=self._statements,
            retries=0,
            progress=progress,
        )

    def failure(self) -> MigrationFailed | None:
        """How to tell of the migration that failed, if it was one that ended this run."""
        if not self.results or self.results[-1].success:
            return None
        if self._blocked:
            return MigrationBlocked(self.results, *self._blocked)
        return MigrationFailed(self.results)

    @contextmanager
    def work(self, plan: Sequence[tuple[Migration, bool]]) -> Iterator[None]:
        """There is something to do, inside the block."""
        self._total = len(plan)
        self._records.prepare()
        self._watch.start()
        alias, batch = self._connection.alias, self._origin.batch
        signals.announce(
            signals.run_started,
            using=alias,
            batch=batch,
            plan=[(step.app_label, step.name, _direction(backwards)) for step, backwards in plan],
        )
        success = False
        try:
            yield
            success = True
        finally:
            signals.announce(
                signals.run_finished,
                using=alias,
                batch=batch,
                results=list(self.results),
                success=success,
            )

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """All attempts inside the block, records included, in one transaction: all or nothing.

        They have one budget for their waits, none is tried again by itself, and what succeeded is
        announced after the commit. Where it fails, ``results`` keeps the failure alone.
        """
        first_row, first_result = len(self._rows), len(self.results)
        done: list[dict[str, object]] = []
        # Before the transaction, which would take the session's limits back with it.
        self._connection.ensure_connection()
        self._statements.settle()
        self._unannounced = done
        try:
            with atomic(self._connection.alias, durable=True):
                # Whoever locks a table and looks must see what was committed until the lock.
                self._connection.connection.execute(_READ_COMMITTED)
                pid = self._timeouts.begin(atomic=True)
                self._watch.pid = pid or self._watch.pid
                yield
        except BaseException:
            self._records.rolled_back(self._rows[first_row:])
            failed = [one for one in self.results[first_result:] if not one.success]
            self.results[first_result:] = failed
            raise
        finally:
            self._unannounced = None
        for facts in done:
            signals.announce(signals.migration_finished, **facts)

    def all_or_nothing(self, work: Callable[[], _T]) -> _T:
        """Run ``work`` in one transaction (``as_one``), and again while it is only for want of a
        lock: nothing of it has happened then."""
        first_result = len(self.results)
        number = 0
        while True:
            number += 1
            try:
                with self.as_one():
                    return work()
            except Exception as error:
                cause = error.__cause__
                blocked = is_blocked(error) or (cause is not None and is_blocked(cause))
                if number > self._retries or not blocked:
                    raise
                failed = self.results[first_result:]
                what = f"{failed[0].app}.{failed[0].name}" if failed else "This run"
                del self.results[first_result:]
                self._blocked = None
                self._pause(what, number)

    @contextmanager
    def dropping(self, keys: Sequence[MigrationKey]) -> Iterator[None]:
        """Record that the block, inside ``as_one``, undoes all of these migrations in one step."""
        started_at, start = datetime.now(UTC), time.perf_counter()
        back = Direction.BACKWARD
        rows = [self._records.started(*key, back, None, history.RESET) for key in keys]

        def results(error: str | None) -> list[MigrationResult]:
            return [
                MigrationResult(
                    app=app,
                    name=name,
                    direction=back,
                    started_at=started_at,
                    duration_ms=round((time.perf_counter() - start) * 1000),
                    success=error is None,
                    error=error,
                    checksum=None,
                    applied_by=self._origin.database_user,
                )
                for app, name in keys
            ]

        try:
            yield
        except BaseException as error:
            told = describe(error)
            for row, result in zip(rows, results(told), strict=True):
                self._records.failed(
                    row,
                    duration_ms=result.duration_ms,
                    error=told,
                    trace=trace_of(error),
                    sqlstate=sqlstate_of(error),
                    operation="drop",
                )
            raise
        for row, result in zip(rows, results(None), strict=True):
            self._records.succeeded(
                self._connection, row, event=history.RESET, duration_ms=result.duration_ms
            )
            self.results.append(result)
        self._rows.extend(rows)

    def attempts(
        self,
        migration: Migration,
        direction: Direction,
        once: Callable[[Attempt], _T],
        *,
        event: str = history.RAN,
    ) -> _T:
        """Run ``once`` as a recorded attempt, and again while it is only for want of a lock."""
        checksum = checksum_of(migration)
        number = 0
        while True:
            number += 1
            row = self._started(migration, direction, checksum, number, event)
            attempt = self._attempt(migration, direction, checksum, number, row=row, event=event)
            try:
                outcome = once(attempt)
            except BaseException as error:
                again = number <= self._retries and self._may_be_retried(migration, error)
                self._failed(attempt, row, error, final=not again)
                if not again:
                    raise
                self._pause(str(migration), number)
            else:
                self._rows.append(row)
                self._finished(attempt)
                return outcome

    def imported(self, source: str, rows: str) -> int:
        """Copy what another tool has recorded; see ``History.imported``. Joins the transaction."""
        return self._records.imported(self._connection, source, rows)

    def _started(
        self,
        migration: Migration,
        direction: Direction,
        checksum: str | None,
        number: int,
        event: str,
    ) -> int:
        from psycopg import Error  # noqa: PLC0415

        try:
            self._holds()
            row = self._records.started(
                migration.app_label, migration.name, direction, checksum, event
            )
        except Error as error:
            raise LockLost(
                f"The session that holds the lock of this run is gone before {migration} "
                f'("{describe(error)}"): another run may have begun, so this one ends. What was '
                "applied is kept; run again."
            ) from error
        signals.announce(
            signals.migration_started,
            using=self._connection.alias,
            batch=self._origin.batch,
            app=migration.app_label,
            name=migration.name,
            direction=direction,
            attempt=number,
        )
        verb = "Applying" if direction is Direction.FORWARD else "Unapplying"
        verb = "Adopting" if event == history.ADOPTED else verb
        self.progress.begin(f"  {verb} {migration}...", len(self.results) + 1, self._total)
        self._watch.blockers = ()
        return row

    def _attempt(
        self,
        migration: Migration,
        direction: Direction,
        checksum: str | None,
        number: int,
        *,
        row: int,
        event: str,
    ) -> Attempt:
        def begun() -> None:
            if self._unannounced is None:
                pid = self._timeouts.begin(atomic=self._connection.in_atomic_block)
                self._watch.pid = pid or self._watch.pid

        def write(attempt: Attempt) -> None:
            self._records.succeeded(
                self._connection,
                row,
                event=history.FAKED if attempt.faked else event,
                duration_ms=None if attempt.faked else attempt.duration_ms,
            )

        return Attempt(
            migration,
            direction,
            number,
            checksum=checksum,
            role=self._origin.database_user,
            begun=begun,
            write=write,
            at=self.progress.at,
        )

    def _finished(self, attempt: Attempt) -> None:
        result = attempt.result(None)
        self.results.append(result)
        facts: dict[str, object] = {
            "using": self._connection.alias,
            "batch": self._origin.batch,
            "result": result,
            "faked": attempt.faked,
        }
        if self._unannounced is None:
            signals.announce(signals.migration_finished, **facts)
        else:
            self._unannounced.append(facts)

    def _failed(self, attempt: Attempt, row: int, error: BaseException, *, final: bool) -> None:
        told = describe(error)
        result = attempt.result(told)
        self.progress.end()
        self._records.failed(
            row,
            duration_ms=result.duration_ms,
            error=told,
            trace=trace_of(error),
            sqlstate=sqlstate_of(error),
            operation=attempt.doing,
        )
        if final:
            self.results.append(result)
            if is_blocked(error):
                self._blocked = attempt.number, self._watch.blockers
        signals.announce(
            signals.migration_failed,
            using=self._connection.alias,
            batch=self._origin.batch,
            result=result,
            exception=error,
        )

    def _may_be_retried(self, migration: Migration, error: BaseException) -> bool:
        # In somebody's transaction that one is broken now, and without one a part has been done.
        return migration.atomic and not self._connection.in_atomic_block and is_blocked(error)

    def _pause(self, what: str, number: int) -> None:
        seconds = min(2.0 ** (number - 1), _LONGEST_PAUSE)
        seconds *= random.uniform(0.5, 1.0)  # noqa: S311  (so that two who collide do not again)
        who = "; ".join(map(str, self._watch.blockers)) or "sessions that could not be seen"
        self.progress.say(
            f"{what} did not get its locks, attempt {number} of "
            f"{self._retries + 1}; the next in {seconds:.1f} s. In its way: {who}"
        )
        time.sleep(seconds)


def _direction(backwards: bool) -> Direction:  # noqa: FBT001  (Django's plan has it so)
    return Direction.BACKWARD if backwards else Direction.FORWARD
