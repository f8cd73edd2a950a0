"""The history as it was recorded: its rows, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from hodei.schema.connection import connection_errors, require_postgresql
from hodei.schema.history.table import EVENT_OUTCOMES, INTERRUPTED, TABLE
from hodei.schema.results import Direction, MigrationResult
from hodei.schema.run.lock import RUN, held

#: In the order of ``Run``'s fields.
COLUMNS = (
    "id, batch, event, app, name, direction, started_at, finished_at, duration_ms, success, error, "
    "traceback, sqlstate, operation, checksum, database_user, os_user, host, command, release, "
    "hodei_version, django_version, reason"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row of the history."""

    id: int
    batch: UUID
    event: str
    app: str
    name: str
    direction: Direction
    #: In UTC, by the server's clock.
    started_at: datetime
    finished_at: datetime | None
    #: None while it runs, if it was interrupted, and where nothing ran.
    duration_ms: int | None
    #: None only while it runs.
    success: bool | None
    error: str | None
    traceback: str | None
    sqlstate: str | None
    #: What the migration was doing when it failed.
    operation: str | None
    checksum: str | None
    database_user: str
    os_user: str
    host: str
    command: str
    release: str
    hodei_version: str
    django_version: str
    reason: str | None

    @property
    def outcome(self) -> str:
        """One word: running, failed, interrupted, ok, or one of EVENT_OUTCOMES."""
        if self.success is None:
            return "running"
        if not self.success:
            return "interrupted" if self.error == INTERRUPTED else "failed"
        return EVENT_OUTCOMES.get(self.event, "ok")

    def result(self) -> MigrationResult:
        return MigrationResult(
            app=self.app,
            name=self.name,
            direction=self.direction,
            started_at=self.started_at,
            duration_ms=self.duration_ms or 0,
            success=bool(self.success),
            error=self.error,
            checksum=self.checksum,
            applied_by=self.database_user,
        )


def read_runs(
    using: str,
    *,
    limit: int | None = None,
    app: str | None = None,
    failed_only: bool = False,
    since: datetime | None = None,
    run: int | None = None,
) -> list[Run]:
    """The runs, newest first; none where nothing was ever recorded. Raises ConnectionFailed."""
    connection = require_postgresql(using)
    with connection_errors(using):
        if TABLE not in connection.introspection.table_names():
            return []
        wanted: list[tuple[str, object]] = [
            ("app = %s", app),
            ("started_at >= %s", since),
            ("id = %s", run),
        ]
        given = [(condition, value) for condition, value in wanted if value is not None]
        conditions = [condition for condition, _ in given]
        values: list[Any] = [value for _, value in given]
        if failed_only:
            conditions.append(
                f"(success IS FALSE OR success IS NULL AND NOT {in_progress('runs')})"
            )
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {COLUMNS}, success IS NULL AND NOT {in_progress('runs')} "
                f"FROM {TABLE} runs {where} ORDER BY id DESC LIMIT %s",
                [*values, limit],
            )
            return [run_of(row) for row in cursor.fetchall()]


def in_progress(runs: str) -> str:
    """SQL: whether an open row is of the run that holds the lock at this moment."""
    return (
        f"({runs}.batch = (SELECT batch FROM {TABLE} ORDER BY id DESC LIMIT 1) AND EXISTS ("
        f"SELECT FROM pg_locks holder WHERE {held(RUN, None, 'holder')}))"
    )


def run_of(row: Sequence[Any]) -> Run:
    """The run of a row of COLUMNS and, last, whether it is open and not going on."""
    fields = dict(zip(COLUMNS.split(", "), row, strict=False))
    fields["direction"] = Direction(fields["direction"])
    for name in ("started_at", "finished_at"):
        fields[name] = _in_utc(fields[name])
    if row[-1]:
        fields.update(success=False, error=INTERRUPTED)
    return Run(**fields)


def _in_utc(instant: datetime | None) -> datetime | None:
    if instant is None:
        return None
    # Without USE_TZ Django may hand out local time.
    aware = timezone.make_aware(instant) if timezone.is_naive(instant) else instant
    return aware.astimezone(UTC)
