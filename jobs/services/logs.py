"""The logs of jobs: read them, keep them longer, delete them, and purge what has expired.

Rows go first: a trigger notes the file of each deleted row, whoever deleted it, and files are
deleted after that. A crash in between leaves a note, and the next purge goes on from there.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Sum

from hodei.values import (
    FIRST_YEAR,
    LAST_YEAR,
    check_limit,
    identifier,
    is_instant,
    named,
    shown,
)
from jobs.logs import store
from jobs.logs.conf import KEPT_KEY, ttl_hours
from jobs.models import LogFile
from jobs.services import audit
from jobs.services.lifecycle import JobNotFound
from jobs.states import JOB_FINAL, JobState

logger = logging.getLogger(__name__)

#: Rows of one statement, and files between two looks at the garbage.
BATCH = 500
#: Logs of one call.
MOST_PURGED = 1_000_000_000


class LogNotFound(LookupError):  # noqa: N818  (it reads as the fact it states)
    """The job has no log file."""

    def __init__(self, job_id: uuid.UUID) -> None:
        super().__init__(f"Job {named(job_id)} has no log file.")


class LogDateInvalid(ValueError):  # noqa: N818
    """A time until which no log can be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """What there is of a log. Positions count bytes from the beginning of its first attempt."""

    state: JobState
    #: Of the stored file; None if there is none.
    storage_uri: str | None
    size_bytes: int
    #: The newest bytes of a run that is not stored yet, and the position at which they end.
    tail: bytes
    tail_ends_at: int
    #: When the tail was written; None if there is none.
    tail_at: datetime | None
    #: Runs that were lost: what they had written is in no file, and the next one begins where the
    #: file ends, while their tail may still be there.
    lost_runs: int

    @property
    def has_ended(self) -> bool:
        return self.state in JOB_FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What a purge has done, or with ``dry_run`` would do."""

    #: Rows that had expired.
    expired: int
    #: Files that were deleted, or were gone already.
    files: int
    #: Files that could not be deleted; they are tried again by the next purge.
    left: int


def look(job_id: uuid.UUID, *, tail: bool = True, using: str = DEFAULT_DB_ALIAS) -> LogView:
    """One query. Raises JobNotFound."""
    if identifier(job_id) is None:
        raise JobNotFound(job_id)
    with connections[using].cursor() as cursor:
        cursor.execute(_LOOK, {"job": job_id, "tail": tail})
        row = cursor.fetchone()
    if row is None:
        raise JobNotFound(job_id)
    return LogView(
        state=JobState(row[0]),
        storage_uri=row[1],
        size_bytes=row[2] or 0,
        tail=bytes(row[3] or b""),
        tail_ends_at=row[4] or 0,
        tail_at=row[5],
        lost_runs=row[6],
    )


def read(job_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> Iterator[bytes]:
    """The stored file, in pieces. Outside a transaction: it may come from a network. Raises
    LogNotFound, and LogMissing or LogUnreadable of ``jobs.logs.store``."""
    if identifier(job_id) is None:
        raise LogNotFound(job_id)
    uri = (
        LogFile.objects.using(using)
        .filter(job_id=job_id)
        .values_list("storage_uri", flat=True)
        .first()
    )
    if uri is None:
        raise LogNotFound(job_id)
    return store.chunks(uri)


def keep(
    job_id: uuid.UUID,
    *,
    until: datetime,
    reason: str,
    actor: str,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Keep a log at least until then, whatever its time was; retention lets its job stay with it.
    Its own transaction, or the caller's.

    Raises LogNotFound and LogDateInvalid.
    """
    if not is_instant(until):
        raise LogDateInvalid(
            f"until is {shown(until)}; it is a datetime with a time zone, and between the years "
            f"{FIRST_YEAR} and {LAST_YEAR}."
        )
    if identifier(job_id) is None:
        raise LogNotFound(job_id)
    with transaction.atomic(using=using):
        # The job first, as whoever deletes it does.
        with connections[using].cursor() as cursor:
            cursor.execute(_KEEP_JOB, {"key": KEPT_KEY, "until": until.isoformat(), "job": job_id})
        files = LogFile.objects.using(using).filter(job_id=job_id)
        if not files.update(expires_at=until):
            raise LogNotFound(job_id)
        payload = {"job_id": str(job_id), "until": until.isoformat(), "reason": reason}
        audit.record("JobLogKept", payload, actor=actor, using=using)


def delete(job_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> None:
    """Delete the log of a job; its file goes with the next purge. Its own transaction, or the
    caller's. Raises LogNotFound."""
    if identifier(job_id) is None:
        raise LogNotFound(job_id)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("DELETE FROM job_log_files WHERE job_id = %s", [job_id])
        if not cursor.rowcount:
            raise LogNotFound(job_id)
        payload = {"job_id": str(job_id), "reason": reason}
        audit.record("JobLogDeleted", payload, actor=actor, using=using)


def total_size(*, using: str = DEFAULT_DB_ALIAS) -> int:
    """Bytes of all stored logs."""
    found: Any = LogFile.objects.using(using).aggregate(total=Sum("size_bytes"))["total"]
    return int(found or 0)


def purge_logs(
    *, limit: int = 10_000, dry_run: bool = False, using: str = DEFAULT_DB_ALIAS
) -> Purged:
    """Delete logs that have expired, at most ``limit`` of them, and files that have no row any
    more, at most as many.

    Each batch is a transaction of its own; no file is deleted while one is open. Two at once share
    the work. Raises ValueError for a limit outside 1 to MOST_PURGED.
    """
    check_limit(limit, MOST_PURGED)
    if dry_run:
        with connections[using].cursor() as cursor:
            cursor.execute(_COUNTS, {"limit": limit})
            expired, garbage = cursor.fetchone()
        return Purged(expired=expired, files=min(expired + garbage, limit), left=0)
    expired = _expire(limit, using)
    files, left = _sweep(limit, using)
    return Purged(expired=expired, files=files, left=left)


def _expire(limit: int, using: str) -> int:
    hours = ttl_hours({})
    expired = 0
    with connections[using].cursor() as cursor:
        while expired < limit:
            cursor.execute(_EXPIRE, {"number": min(BATCH, limit - expired)})
            expired += cursor.rowcount
            if cursor.rowcount < BATCH:
                break
        # What is left of runs whose worker vanished, or whose log could not be stored.
        while True:
            cursor.execute(_EXPIRE_TAILS, {"hours": hours, "number": BATCH})
            if cursor.rowcount < BATCH:
                return expired


def _sweep(limit: int, using: str) -> tuple[int, int]:
    files = left = last = 0
    end = _NO_END
    with connections[using].cursor() as cursor:
        while files + left < limit:
            asked = min(BATCH, limit - files - left)
            cursor.execute(_GARBAGE, {"last": last, "end": end, "number": asked})
            rows = cursor.fetchall()
            if not rows:
                break
            last = rows[-1][0]
            gone = {number for number, uri, is_used in rows if is_used or _delete_file(uri)}
            files += len(gone)
            cursor.execute(_FORGET, [list(gone)])
            if kept := [row[0] for row in rows if row[0] not in gone]:
                left += len(kept)
                # To the end of the line: however many there are, the next purge begins with others.
                cursor.execute(_TO_THE_END, [kept])
                end = min(end, cursor.fetchone()[0] or end)
    return files, left


def _delete_file(uri: str) -> bool:
    try:
        store.delete(uri)
    except Exception as error:  # noqa: BLE001  (a storage may raise anything, and the next file may go)
        logger.warning("a log file cannot be deleted uri=%s error=%s", uri, error)
        return False
    return True


_LOOK = """
SELECT j.state, f.storage_uri, f.size_bytes, CASE WHEN %(tail)s THEN t.tail END, t.total_bytes,
       t.updated_at, j.lost_leases
  FROM jobs AS j
  LEFT JOIN job_log_files AS f ON f.job_id = j.id
  LEFT JOIN job_log_tails AS t ON t.job_id = j.id
 WHERE j.id = %(job)s
"""
_KEEP_JOB = """
UPDATE jobs SET metadata = metadata || jsonb_build_object(%(key)s::text, %(until)s::text)
 WHERE id = %(job)s
"""
_EXPIRE = """
DELETE FROM job_log_files WHERE id = ANY(ARRAY(
    SELECT id FROM job_log_files WHERE expires_at <= clock_timestamp()
     ORDER BY expires_at LIMIT %(number)s FOR UPDATE SKIP LOCKED))
"""
_EXPIRE_TAILS = """
DELETE FROM job_log_tails WHERE job_id = ANY(ARRAY(
    SELECT job_id FROM job_log_tails AS t
     WHERE updated_at <= clock_timestamp() - %(hours)s * interval '1 hour'
       AND NOT EXISTS (SELECT FROM job_leases AS l WHERE l.job_id = t.job_id)
     LIMIT %(number)s FOR UPDATE SKIP LOCKED))
"""
_GARBAGE = """
SELECT g.id, g.storage_uri,
       (SELECT true FROM job_log_files AS f WHERE f.storage_uri = g.storage_uri LIMIT 1)
  FROM job_log_garbage AS g
 WHERE g.id > %(last)s AND g.id < %(end)s AND g.since <= clock_timestamp()
 ORDER BY g.id LIMIT %(number)s
"""
_NO_END = 2**63 - 1
_TO_THE_END = """
WITH moved AS (
    UPDATE job_log_garbage SET id = nextval(pg_get_serial_sequence('job_log_garbage', 'id'))
     WHERE id = ANY(ARRAY(
         SELECT id FROM job_log_garbage WHERE id = ANY(%s) FOR UPDATE SKIP LOCKED))
    RETURNING id)
SELECT min(id) FROM moved
"""
# Another purge that is at it has the same rows, and deletes them.
_FORGET = """
DELETE FROM job_log_garbage WHERE id = ANY(ARRAY(
    SELECT id FROM job_log_garbage WHERE id = ANY(%s) FOR UPDATE SKIP LOCKED))
"""
_COUNTS = """
SELECT (SELECT count(*) FROM (SELECT FROM job_log_files WHERE expires_at <= clock_timestamp()
                               LIMIT %(limit)s) AS found),
       (SELECT count(*) FROM (SELECT FROM job_log_garbage WHERE since <= clock_timestamp()
                               LIMIT %(limit)s) AS found)
"""
