"""Enqueue jobs, in the caller's transaction: they are there when it commits, and never otherwise.

with transaction.atomic():
    order = Order.objects.create(...)
    enqueue(spec={"command": {"type": "shell", "cmd": "echo", "args": ["hello"]}})
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
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

#: Jobs of one statement of enqueue_many, and from how many on a chunk goes by COPY.
CHUNK = 5_000
COPY_FROM = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """The job that is there now."""

    id: uuid.UUID
    #: False where its idempotency key was known: this is the first job, and nothing was stored.
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What enqueue_many has done."""

    enqueued: int
    #: Jobs that were not stored, since their idempotency key was known.
    known: int


def enqueue(*, using: str = DEFAULT_DB_ALIAS, **job: Any) -> Enqueued:
    """Store one job; the arguments are the fields of ``NewJob``. One round trip, joins the caller's
    transaction if there is one.

    Raises JobInvalid, and ImproperlyConfigured for wrong settings; nothing is stored then.
    """
    given = NewJob(**job)
    columns = checked(given)
    parameters = {"id": uuid7(), **columns, **WAKE}
    with connections[using].cursor() as cursor:
        cursor.execute(telling.text("enqueue"), parameters)
        row = cursor.fetchone()
        if row is None:
            # Somebody has committed the same key after this statement began.
            cursor.execute(
                "SELECT id, false FROM jobs WHERE idempotency_key = %s", [given.idempotency_key]
            )
            row = cursor.fetchone()
    if row is None:
        raise JobInvalid(
            f"idempotency_key is {given.idempotency_key!r}, and a transaction that this one cannot "
            "see yet has used it. Try again in a new transaction."
        )
    return Enqueued(id=row[0], is_new=row[1])


def enqueue_many(
    jobs: Iterable[NewJob],
    *,
    using: str = DEFAULT_DB_ALIAS,
    on_batch: Callable[[Sequence[uuid.UUID]], object] | None = None,
) -> Counts:
    """Store any number of jobs, all or none, in their order. Joins the caller's transaction, or has
    one of its own.

    The iterable is pulled between statements, some thousands at a time, so memory stays flat.
    ``on_batch`` gets the ids of each chunk that was stored. Raises what ``enqueue`` does, and what
    the iterable raises; nothing is stored then.
    """
    enqueued = known = 0
    queues: set[str] = set()
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for chunk in _chunks(jobs):
            rows = [_row(job, place) for place, job in chunk]
            stored = _store(cursor, rows)
            enqueued += len(stored)
            known += len(rows) - len(stored)
            queues.update(row["queue"] for row in rows)
            if on_batch is not None:
                on_batch(stored)
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


def _chunks(jobs: Iterable[NewJob]) -> Iterator[list[tuple[int, NewJob]]]:
    numbered = enumerate(jobs)
    while chunk := list(islice(numbered, CHUNK)):
        yield chunk


def _row(job: NewJob, place: int) -> dict[str, Any]:
    try:
        return {"id": uuid7(), **checked(job)}
    except JobInvalid as error:
        raise JobInvalid(f"Job {place} of this call: {error}") from error


def _store(cursor: CursorWrapper, rows: Sequence[dict[str, Any]]) -> list[uuid.UUID]:
    has_keys = any(row["idempotency_key"] is not None for row in rows)
    if len(rows) >= COPY_FROM and not has_keys:
        return _copy(cursor, rows)
    cursor.execute(
        telling.text("enqueue_many"),
        {
            "ids": [row["id"] for row in rows],
            "specs": [row["spec"] for row in rows],
            "names": [row["name"] for row in rows],
            "queues": [row["queue"] for row in rows],
            "priorities": [row["priority"] for row in rows],
            "run_afters": [row["run_after"] for row in rows],
            "timeouts": [row["timeout"] for row in rows],
            "most_attempts": [row["max_attempts"] for row in rows],
            "correlation_ids": [row["correlation_id"] for row in rows],
            "idempotency_keys": [row["idempotency_key"] for row in rows],
            "trace_parents": [row["trace_parent"] for row in rows],
            "metadata": [row["metadata"] for row in rows],
            "orchestrated": [row["orchestrated"] for row in rows],
        },
    )
    there = {row[0] for row in cursor.fetchall()}
    return [row["id"] for row in rows if row["id"] in there]


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
    queued = [row for row in rows if not row["orchestrated"]]
    with cursor.copy(_COPY_READY) as copy:
        for row in queued:
            if row["run_after"] is None:
                copy.write_row((row["id"], row["queue"], row["priority"]))
    later = [row for row in queued if row["run_after"] is not None]
    if later:
        # What is due already is promoted within a second.
        with cursor.copy(_COPY_LATER) as copy:
            for row in later:
                copy.write_row((row["id"], row["run_after"], row["queue"], row["priority"]))
    ids = [row["id"] for row in rows]
    if telling.tells_anything("tell_enqueued"):
        cursor.execute(telling.text("tell_enqueued"), {"ids": ids})
    return ids
