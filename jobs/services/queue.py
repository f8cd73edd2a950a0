"""Enqueue jobs, in the caller's transaction: they are there when it commits, and never otherwise.

with transaction.atomic():
    order = Order.objects.create(...)
    enqueue(spec={"command": {"type": "shell", "cmd": "echo", "args": ["hello"]}})
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.compat import uuid7
from hodei.sql import statement
from jobs import spec as specs
from jobs import telling
from jobs.executors import SpecInvalid
from jobs.registry import check_spec
from jobs.spec import JobInvalid, NewJob
from jobs.wakeup import WAKE

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

#: What most jobs have in columns of theirs, and as it is written in a statement.
_USUAL: dict[str, tuple[object, str]] = {
    "name": ("", "''"),
    "priority": (0, "0"),
    "run_after": (None, "NULL"),
    "timeout": (None, "NULL"),
    "max_attempts": (3, "3"),
    "correlation_id": (None, "NULL"),
    "idempotency_key": (None, "NULL"),
    "trace_parent": (None, "NULL"),
    "metadata": ("{}", "'{}'"),
    "orchestrated": (False, "false"),
}
#: Jobs of one statement of enqueue_many, and from how many on a chunk goes by COPY: into the tables
#: themselves, or with keys into a temporary one.
CHUNK = 5_000
COPY_FROM = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """The job that is there now."""

    id: uuid.UUID
    #: False where its idempotency key was known: this is the first job, and nothing was stored.
    is_new: bool
    #: When it was stored.
    enqueued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What enqueue_many has done."""

    enqueued: int
    #: Jobs that were not stored, since their idempotency key was known.
    known: int


def enqueue(*, using: str = DEFAULT_DB_ALIAS, **job: Any) -> Enqueued:
    """Store one job; the arguments are the fields of ``NewJob``. One round trip, joins the caller's
    transaction if there is one.

    Raises JobInvalid, and ImproperlyConfigured for wrong settings; nothing is stored then. A
    transaction that reads repeatably, and whose key was committed after its beginning, has a
    serialization failure: OperationalError.
    """
    columns = checked(NewJob(**job))
    usual = tuple(name for name, (value, _) in _USUAL.items() if columns[name] == value)
    with connections[using].cursor() as cursor:
        cursor.execute(_written_out(telling.text("enqueue"), usual), {"id": uuid7(), **columns})
        found, is_new, stored_at = cursor.fetchone()
    if found is None:
        raise JobInvalid(
            f"idempotency_key is {columns['idempotency_key']!r}, and the job that had it was "
            "deleted at this moment. Try again."
        )
    return Enqueued(id=found, is_new=is_new, enqueued_at=stored_at)


def enqueue_many(
    jobs: Iterable[NewJob],
    *,
    using: str = DEFAULT_DB_ALIAS,
    on_batch: Callable[[Sequence[uuid.UUID]], object] | None = None,
) -> Counts:
    """Store any number of jobs, all or none, in their order. Joins the caller's transaction, or has
    one of its own.

    The iterable is pulled between statements, some thousands at a time, so memory stays flat.
    ``on_batch`` gets the ids of each chunk that was stored. Of jobs with one idempotency key the
    first is stored, and the others are counted as known. Raises what ``enqueue`` does, and what
    the iterable raises; nothing is stored then.
    """
    enqueued = known = 0
    queues: set[str] = set()
    stage = _Stage()
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for chunk in _chunks(jobs):
            rows = [_row(job, place) for place, job in chunk]
            stored = _store(cursor, rows, stage)
            enqueued += len(stored)
            known += len(rows) - len(stored)
            queues.update(row["queue"] for row in rows)
            if on_batch is not None:
                on_batch(stored)
        stage.drop(cursor)
        if queues:
            cursor.execute(statement("jobs", "wake"), {"queues": sorted(queues), **WAKE})
    return Counts(enqueued=enqueued, known=known)


def checked(job: NewJob) -> dict[str, Any]:
    """The columns of a job. Raises JobInvalid."""
    columns = specs.check(job)
    try:
        check_spec(job.spec)
    except SpecInvalid as error:
        raise JobInvalid(str(error)) from error
    return columns


@lru_cache(maxsize=256)
def _written_out(text: str, usual: tuple[str, ...]) -> str:
    """The statement with the values that these columns mostly have: each parameter costs the driver
    some time."""
    for name in usual:
        text = text.replace(f"%({name})s", _USUAL[name][1])
    return text


def _chunks(jobs: Iterable[NewJob]) -> Iterator[list[tuple[int, NewJob]]]:
    numbered = enumerate(jobs)
    while chunk := list(islice(numbered, CHUNK)):
        yield chunk


def _row(job: NewJob, place: int) -> dict[str, Any]:
    try:
        return {"id": uuid7(), **checked(job)}
    except JobInvalid as error:
        raise JobInvalid(f"Job {place} of this call: {error}") from error


def _store(cursor: CursorWrapper, rows: Sequence[dict[str, Any]], stage: _Stage) -> list[uuid.UUID]:
    has_keys = any(row["idempotency_key"] is not None for row in rows)
    if len(rows) >= COPY_FROM:
        if not has_keys:
            return _copy(cursor, rows)
        if stage.is_there(cursor):
            return stage.store(cursor, rows)
    cursor.execute(
        telling.text("enqueue_many").replace(GIVEN, ARRAYS),
        {f"{name}_": [row[name] for row in rows] for name in _COLUMNS},
    )
    return _stored(cursor, rows)


def _stored(cursor: CursorWrapper, rows: Sequence[dict[str, Any]]) -> list[uuid.UUID]:
    there = {row[0] for row in cursor.fetchall()}
    return [row["id"] for row in rows if row["id"] in there]


#: The columns of a job that are given, and their types.
_COLUMNS = {
    "id": "uuid",
    "spec": "jsonb",
    "name": "text",
    "queue": "text",
    "priority": "int",
    "run_after": "timestamptz",
    "timeout": "interval",
    "max_attempts": "int",
    "correlation_id": "text",
    "idempotency_key": "text",
    "trace_parent": "text",
    "metadata": "jsonb",
    "orchestrated": "boolean",
}
#: What the statement ``enqueue_many`` has where its jobs come from; and they as arrays.
GIVEN = "/* given */"
ARRAYS = (
    f"unnest({', '.join(f'%({name}_)s::{kind}[]' for name, kind in _COLUMNS.items())}) "
    f"WITH ORDINALITY AS g ({', '.join(_COLUMNS)}, place)"
)


class _Stage:
    """A temporary table, through which many jobs with keys go: COPY cannot leave out what is known.

    Made by the first chunk that needs it; ``drop`` ends it, and so does a rollback.
    """

    _numbers = count()

    def __init__(self) -> None:
        #: Its own: whoever is asked for jobs, or told of them, may enqueue others meanwhile.
        self._name = f"hodei_jobs_given_{next(self._numbers)}"
        self._is_there: bool | None = None

    def is_there(self, cursor: CursorWrapper) -> bool:
        """Make it if need be; False where the role may make none."""
        if self._is_there is None:
            cursor.execute("SELECT has_database_privilege(current_database(), 'TEMPORARY')")
            self._is_there = bool(cursor.fetchone()[0])
            if self._is_there:
                columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
                cursor.execute(f"CREATE TEMPORARY TABLE {self._name} ({columns}, place int)")
        return self._is_there

    def store(self, cursor: Any, rows: Sequence[dict[str, Any]]) -> list[uuid.UUID]:
        with cursor.copy(f"COPY {self._name} ({', '.join(_COLUMNS)}, place) FROM STDIN") as copy:
            for place, row in enumerate(rows):
                copy.write_row((*(row[name] for name in _COLUMNS), place))
        # With parameters, since literals in it may have a per cent that is doubled.
        cursor.execute(telling.text("enqueue_many").replace(GIVEN, f"{self._name} AS g"), {})
        stored = _stored(cursor, rows)
        cursor.execute(f"TRUNCATE {self._name}")
        return stored

    def drop(self, cursor: CursorWrapper) -> None:
        if self._is_there:
            cursor.execute(f"DROP TABLE {self._name}")


_COPY_JOBS = (
    "COPY jobs (id, spec, state, name, queue, priority, run_after, timeout, max_attempts, "
    "correlation_id, trace_parent, metadata, orchestrated) FROM STDIN"
)
_COPY_READY = "COPY job_queue (job_id, queue, priority) FROM STDIN"
_COPY_LATER = "COPY job_queue_deferred (job_id, run_after, queue, priority) FROM STDIN"


def _copy(cursor: Any, rows: Sequence[dict[str, Any]]) -> list[uuid.UUID]:
    """Without keys nothing can be known already, and COPY is the fastest way in."""
    with cursor.copy(_COPY_JOBS) as copy:
        for row in rows:
            copy.write_row(
                (
                    *(row["id"], row["spec"], "PENDING", row["name"], row["queue"]),
                    *(row["priority"], row["run_after"], row["timeout"], row["max_attempts"]),
                    *(row["correlation_id"], row["trace_parent"], row["metadata"]),
                    row["orchestrated"],
                )
            )
    ready, later = _by_time(cursor, [row for row in rows if not row["orchestrated"]])
    with cursor.copy(_COPY_READY) as copy:
        for row in ready:
            copy.write_row((row["id"], row["queue"], row["priority"]))
    if later:
        with cursor.copy(_COPY_LATER) as copy:
            for row in later:
                copy.write_row((row["id"], row["run_after"], row["queue"], row["priority"]))
    ids = [row["id"] for row in rows]
    if telling.tells_anything("tell_enqueued"):
        cursor.execute(telling.text("tell_enqueued"), {"ids": ids})
    return ids


def _by_time(
    cursor: Any, rows: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Those that are due, by the database's clock, and those that are not yet."""
    if all(row["run_after"] is None for row in rows):
        return list(rows), []
    cursor.execute("SELECT clock_timestamp()")
    now: datetime = cursor.fetchone()[0]
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for row in rows:
        parts[row["run_after"] is not None and row["run_after"] > now].append(row)
    return parts
