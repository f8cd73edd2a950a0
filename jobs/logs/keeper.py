"""Writes the rows of logs, many at once, on a connection of its own in a thread of its own.

Tails of what runs now, once a second; and rows of files, which a run that has ended waits for. A
database that is away costs tails and perhaps a log, and never the result of a job.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from hodei.backoff import Backoff
from hodei.sessions import connect
from hodei.sql import statement
from jobs.logs.spool import Spool, Tail

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

TAIL_SECONDS = 1.0
#: Seconds that a run waits for a row to be written, before its log is given up. While the database
#: is away there is nothing else that its slot could do.
PATIENCE_SECONDS = 300.0
#: Seconds that the database has for an answer.
ANSWER_SECONDS = 30.0
RECONNECTS = Backoff(base=0.2, cap=5.0)


@dataclass(frozen=True, slots=True)
class Reserved:
    """A URI that a file may be written to, and what the job's log has already."""

    uri: str
    #: job_log_garbage.id: the file is garbage unless it is settled.
    note: int
    before: str | None
    size: int
    lines: int


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written."""

    job_id: uuid.UUID
    epoch: int
    uri: str
    size: int
    lines: int
    ttl_hours: float
    #: Of its URI, as ``Reserved`` has it.
    note: int


@dataclass(slots=True)
class _Asked:
    """What the thread is to write, and the run that waits for it."""

    what: tuple[uuid.UUID, str] | Written | Tail
    done: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False
    answer: Reserved | bool | None = None


class Keeper:
    """Started with its first use; ``close`` ends it."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._spools: set[Spool] = set()
        self._asked: list[_Asked] = []
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._rng = Random()  # noqa: S311  (to spread load, not to hide anything)

    def follow(self, spool: Spool) -> None:
        """From now on its tail is written, when it has changed."""
        with self._mutex:
            self._spools.add(spool)
            self._ensure()
        self._wake.set()

    def leave(self, spool: Spool) -> None:
        with self._mutex:
            self._spools.discard(spool)

    def reserve(self, job_id: uuid.UUID, uri: str) -> Reserved | None:
        """Wait for the URI to be noted; None if the database was away for too long."""
        answer = self._ask(_Asked((job_id, uri)))
        return answer if isinstance(answer, Reserved) else None

    def settle(self, written: Written) -> bool:
        """Wait for the file to be the job's log; False if the lease was lost, or the database was
        away for too long."""
        return self._ask(_Asked(written)) is True

    def write_tail(self, tail: Tail) -> None:
        """Wait for a tail to be written."""
        self._ask(_Asked(tail))

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _ask(self, asked: _Asked) -> Reserved | bool | None:
        with self._mutex:
            self._asked.append(asked)
            self._ensure()
        self._wake.set()
        if not asked.done.wait(PATIENCE_SECONDS):
            asked.given_up = True
        return asked.answer

    def _ensure(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="jobs log keeper", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        from psycopg import Error  # noqa: PLC0415

        session: psycopg.Connection[Any] | None = None
        failures = 0
        tails_at = time.monotonic() + TAIL_SECONDS
        while not self._stop.is_set():
            self._wake.wait(max(tails_at - time.monotonic(), 0.0) if self._spools else None)
            self._wake.clear()
            asked = self._take()
            tails: list[Tail] = []
            if time.monotonic() >= tails_at:
                tails_at = time.monotonic() + TAIL_SECONDS
                tails = self._tails()
            if not asked and not tails:
                continue
            try:
                session = session or connect(
                    self._using, "hodei jobs logs", patience=ANSWER_SECONDS
                )
                self._write(session, tails, asked)
                failures = 0
            except Exception as error:  # noqa: BLE001  (a thread that others wait for must not end)
                failures += 1
                if session is not None:
                    session.close()
                    session = None
                self._put_back(asked)
                pause = RECONNECTS.pause(failures, self._rng)
                words = " ".join(str(error).split())
                told = logger.warning if isinstance(error, Error) else logger.exception
                told("logs wait for the database again_in=%.1f error=%s", pause, words)
                self._stop.wait(pause)
        if session is not None:
            session.close()

    def _take(self) -> list[_Asked]:
        with self._mutex:
            asked, self._asked = self._asked, []
        return [one for one in asked if not one.given_up]

    def _put_back(self, asked: Sequence[_Asked]) -> None:
        with self._mutex:
            self._asked[:0] = [one for one in asked if not one.done.is_set()]
        self._wake.set()

    def _tails(self) -> list[Tail]:
        with self._mutex:
            spools = list(self._spools)
        return [tail for spool in spools if (tail := spool.newest()) is not None]

    def _write(
        self, session: psycopg.Connection[Any], tails: Sequence[Tail], asked: Sequence[_Asked]
    ) -> None:
        reserves = [one for one in asked if isinstance(one.what, tuple)]
        wanted = [one.what for one in reserves if isinstance(one.what, tuple)]
        settles = [one for one in asked if isinstance(one.what, Written)]
        if reserves:
            _answer(reserves, reserve(session, wanted).get)
        if settles:
            ours = settle(session, [one.what for one in settles if isinstance(one.what, Written)])
            _answer(settles, lambda uri: uri in ours)
        last = [one for one in asked if isinstance(one.what, Tail)]
        tails = [*tails, *(one.what for one in last if isinstance(one.what, Tail))]
        if tails:
            write_tails(session, tails)
            _answer(last, lambda _: True)


def reserve(
    session: psycopg.Connection[Any], wanted: Sequence[tuple[uuid.UUID, str]]
) -> dict[str, Reserved]:
    """Note URIs (job, URI) that files are about to be written to; returns them by URI."""
    rows = session.execute(
        statement("jobs", "log_reserve"),
        {"ids": [job_id for job_id, _ in wanted], "uris": [uri for _, uri in wanted]},
    ).fetchall()
    return {
        uri: Reserved(uri, note, before, size or 0, lines or 0)
        for uri, note, before, size, lines in rows
    }


def settle(session: psycopg.Connection[Any], written: Sequence[Written]) -> set[str]:
    """Make files the logs of their jobs; returns the URIs of those whose lease is still ours."""
    rows = session.execute(
        statement("jobs", "log_settle"),
        {
            "ids": [one.job_id for one in written],
            "epochs": [one.epoch for one in written],
            "uris": [one.uri for one in written],
            "sizes": [one.size for one in written],
            "lines": [one.lines for one in written],
            "hours": [one.ttl_hours for one in written],
            "notes": [one.note for one in written],
        },
    ).fetchall()
    return {row[0] for row in rows}


def write_tails(session: psycopg.Connection[Any], tails: Sequence[Tail]) -> None:
    """Write the tails of runs whose lease is still ours."""
    session.execute(
        statement("jobs", "log_tails"),
        {
            "ids": [one.job_id for one in tails],
            "epochs": [one.epoch for one in tails],
            "tails": [one.tail for one in tails],
            "totals": [one.total for one in tails],
        },
    )


def _answer(asked: Sequence[_Asked], answer_of: Callable[[str], Reserved | bool | None]) -> None:
    for one in asked:
        match one.what:
            case Written(uri=uri) | (_, uri):
                one.answer = answer_of(uri)
        one.done.set()
