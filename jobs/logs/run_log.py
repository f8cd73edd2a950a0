"""The log of one run, from its first byte to the file that is kept.

Whatever fails here, a full disk, a storage that is away, is logged and said in the tail, and the
run goes on: what becomes of a job does not depend on its log.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO

from jobs.connections import tidy_all
from jobs.logs import store
from jobs.logs.conf import spool_folder, ttl_hours
from jobs.logs.keeper import Keeper, Reserved, Written
from jobs.logs.recorder import Recorder
from jobs.logs.spool import Spool
from jobs.runs import Run, failure_of

logger = logging.getLogger(__name__)


class RunLog(Recorder):
    """For the thread of a run."""

    def __init__(self, run: Run, secrets: tuple[bytes, ...], keeper: Keeper) -> None:
        spool = Spool(run.id, run.job.epoch, spool_folder())
        super().__init__(spool, secrets)
        self._run = run
        self._spool = spool
        self._keeper = keeper
        keeper.follow(spool)
        if run.job.attempts > 1:
            self.note(f"Attempt {run.job.attempts}")

    def close(self) -> None:
        """Store what was written, and return when it is the job's log, or cannot be."""
        try:
            self.end()
            self._keeper.leave(self._spool)
            # Whoever holds the lease now writes the log.
            if not self._run.lost:
                self._store()
        except BaseException as error:  # what a storage raises is not the job's
            logger.exception("the log of a job cannot be stored job_id=%s", self._run.id)
            self.note(f"This log could not be stored: {failure_of(error).message}")
            # Some storages use the database. A transaction that is open may be the caller's.
            with suppress(Exception):
                tidy_all()
            if (tail := self._spool.newest()) is not None:
                self._keeper.write_tail(tail)
        finally:
            self._keeper.leave(self._spool)
            self._spool.close()

    def _store(self) -> None:
        content = self._spool.file()
        if content is None:
            if self._spool.error is not None:
                raise self._spool.error
            return
        uri = store.new_uri(self._run.id, self._run.job.attempts, datetime.now(UTC))
        reserved = self._keeper.reserve(self._run.id, uri)
        if reserved is None:
            logger.warning(
                "the log of a job is lost, since the database is away job_id=%s", self._run.id
            )
            return
        with self._whole(reserved, content) as (whole, size, lines):
            try:
                saved = store.save(uri, whole)
            except BaseException:
                with suppress(BaseException):  # what is there of it goes when the URI is swept
                    store.delete(uri)
                raise
        if saved != uri:
            reserved = self._keeper.reserve(self._run.id, saved) or reserved
        hours = ttl_hours(self._run.metadata)
        written = Written(
            self._run.id, self._run.job.epoch, saved, size, lines, hours, reserved.note
        )
        if not self._keeper.settle(written):
            logger.warning("the log of a job was not kept job_id=%s uri=%s", self._run.id, saved)

    @contextmanager
    def _whole(
        self, reserved: Reserved, content: IO[bytes]
    ) -> Iterator[tuple[IO[bytes], int, int]]:
        """What the log has already, and this run's; its size and lines."""
        size, lines = self._spool.size, self._spool.lines
        if reserved.before is not None:
            try:
                with store.joined(reserved.before, content) as both:
                    size = both.seek(0, os.SEEK_END)
                    both.seek(0)
                    yield both, size, reserved.lines + lines
                    return
            except store.LogMissing:
                logger.warning("the log of earlier attempts is gone uri=%s", reserved.before)
                content.seek(0)
        yield content, size, lines
