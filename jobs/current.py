"""What a worker that runs one job at a time runs now, kept in its row for those who look."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from hodei.sql import statement
from jobs import registration
from jobs.events import WorkerEvent

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

#: Seconds between two writes: of jobs that are shorter not each is seen there.
SECONDS = 0.25


class Current:
    """``runs`` is for the slot; everything else is the finisher's. ``wake`` makes it look."""

    def __init__(self, worker: uuid.UUID, wake: threading.Event) -> None:
        self._worker = worker
        self._wake = wake
        self._job: uuid.UUID | None = None
        self._written: uuid.UUID | None = None
        #: Whether there is something to write.
        self._differs = False
        self._write_at = 0.0

    def runs(self, job: uuid.UUID | None) -> None:
        self._job = job
        if not self._differs:
            self._differs = True
            self._wake.set()

    def until_due(self) -> float:
        """Seconds until there is something to write."""
        return max(self._write_at - time.monotonic(), 0.0) if self._differs else float("inf")

    def write(self, session: psycopg.Connection[Any]) -> None:
        if self.until_due() > 0:
            return
        # From here on a change is another one.
        self._differs = False
        job = self._job
        if job == self._written:
            return
        self._write_at = time.monotonic() + SECONDS
        try:
            self._note(session, job)
        except BaseException:
            self._differs = True  # on another connection
            raise
        self._written = job

    def _note(self, session: psycopg.Connection[Any], job: uuid.UUID | None) -> None:
        from psycopg.errors import IntegrityError  # noqa: PLC0415

        try:
            self._set(session, job)
        except IntegrityError:
            # Another worker has it noted, which lost it to this one; or the job is deleted.
            try:
                session.execute(
                    "UPDATE workers SET current_job_id = NULL WHERE current_job_id = %s "
                    "AND id <> %s",
                    [job, self._worker],
                )
                self._set(session, job)
            except IntegrityError as error:
                logger.info("the current job was not noted job_id=%s error=%s", job, error)

    def _set(self, session: psycopg.Connection[Any], job: uuid.UUID | None) -> None:
        """Note it, and tell of READY and BUSY. One transaction."""
        with session.transaction():
            row = session.execute(
                statement("jobs", "note_current"), {"job": job, "worker": self._worker}
            ).fetchone()
            if row is not None and row[0] != row[1]:
                changed = WorkerEvent.STATE_CHANGED
                registration.tell(session, self._worker, changed, state=row[0])
