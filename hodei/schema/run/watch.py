"""Sees what the statement that is running waits for, from another session and another thread.

A statement that is quick costs nothing: the server is asked only about one that has been running
for a while. What was seen is how long an attempt has waited in all, and who was in the way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import psycopg

_LONGEST_PAUSE = 0.25

_ASK = """
SELECT extract(epoch FROM clock_timestamp() - waiting.waitstart)::float8,
       blocker.pid, coalesce(activity.application_name, ''), coalesce(activity.state, ''),
       coalesce(left(activity.query, 500), '')
  FROM pg_locks waiting
  LEFT JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) blocker (pid) ON true
  LEFT JOIN pg_stat_activity activity ON activity.pid = blocker.pid
 WHERE waiting.pid = {pid} AND NOT waiting.granted
"""


class Blocker(NamedTuple):
    """A session that holds, or is first in the queue for, what a migration waits for."""

    pid: int
    application: str
    state: str
    query: str

    def __str__(self) -> str:
        words = ", ".join(word for word in (self.application, self.state) if word)
        query = " ".join(self.query.split())
        if len(query) > 120:
            query = f"{query[:117]}..."
        return f"pid {self.pid}{f' ({words})' if words else ''}{f': {query}' if query else ''}"


_NOBODY: tuple[Blocker, ...] = ()


class Watch:
    """Between ``begin`` and ``end`` a statement is running in the server process ``pid``.

    ``tick`` is called from the watching thread every quarter of a second, with the seconds that the
    statement has waited for its lock so far (0.0 if it does not) and those who block it.
    """

    def __init__(
        self,
        session: psycopg.Connection[Any],
        *,
        limit: float,
        tick: Callable[[float, tuple[Blocker, ...]], None],
    ) -> None:
        self.pid: int | None = None
        #: Seen last, and kept until the next attempt.
        self.blockers: tuple[Blocker, ...] = ()
        self._session = session
        self._pause = min(_LONGEST_PAUSE, limit / 5)
        self._tick = tick
        self._mutex = threading.Lock()
        self._since: float | None = None
        #: When the running statement was last seen waiting, and how long it had waited then.
        self._seen: tuple[float, float] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="migrate watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; the session is the caller's again."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def begin(self) -> None:
        with self._mutex:
            self._since, self._seen = time.monotonic(), None

    def end(self) -> float:
        """Return how many seconds the statement has waited for locks, as far as it was seen."""
        with self._mutex:
            seen, self._since, self._seen = self._seen, None, None
        # It may have got its lock anywhere between the last look and now: the longer is assumed.
        return 0.0 if seen is None else seen[1] + time.monotonic() - seen[0]

    def _watch(self) -> None:
        from psycopg import Error  # noqa: PLC0415

        while not self._stop.wait(self._pause):
            with self._mutex:
                since = self._since
            waited, blockers = 0.0, _NOBODY
            if since is not None and time.monotonic() - since >= self._pause and self.pid:
                try:
                    waited, blockers = self._ask(self.pid)
                except Error:
                    # The session is gone; the run will find out, and nothing can be seen.
                    return
                if waited:
                    self._note(since, waited, blockers)
            self._tick(waited, blockers)

    def _note(self, since: float, waited: float, blockers: tuple[Blocker, ...]) -> None:
        with self._mutex:
            # While the server was asked, the statement may have ended.
            if self._since == since:
                self._seen = time.monotonic(), waited
                self.blockers = blockers or self.blockers

    def _ask(self, pid: int) -> tuple[float, tuple[Blocker, ...]]:
        rows = self._session.execute(_ASK.format(pid=int(pid))).fetchall()
        if not rows:
            return 0.0, ()
        waited = max(row[0] or self._pause for row in rows)
        return waited, tuple(Blocker(*row[1:]) for row in rows if row[1] is not None)
