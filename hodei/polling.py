"""How an agent waits for work: woken by a notification where that is cheap, and polling always.

See Note [The gate].
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

# Note [The gate]
# A COMMIT with a notification takes a lock that all such commits of the server share, so notifying
# of each row makes writers wait for each other (a loss of 85 % with 16 of them). So a writer
# notifies only somebody who sleeps: the sleeper holds an advisory lock, the gate, and the writer
# tries to take it together with all other writers (shared). If it gets it, nobody sleeps. A writer
# that looked just before the sleeper lay down, and commits just after, is found by the next poll.


#: Seconds after which a sleeper notices what rings no bell.
MOMENT = 0.1


@dataclass(slots=True, kw_only=True)
class Pace:
    """Pure: the pause between two looks that find nothing, doubling from ``shortest`` to
    ``longest`` (both in seconds) and short again after work was found."""

    shortest: float
    longest: float
    _pause: float = 0.0

    def found(self) -> None:
        self._pause = 0.0

    def nothing(self) -> float:
        """Return how long to wait now."""
        self._pause = min(max(self._pause * 2, self.shortest), self.longest)
        return self._pause


class Bell:
    """Wakes an agent: by notifications on a session of its own, or by the clock alone.

    ``session`` is in autocommit and nobody else's. Behind a pooler (``listens`` false) there is no
    session to hold a gate, and ``wait`` only waits.
    """

    def __init__(
        self, session: psycopg.Connection[Any], *, channel: str, gate: int, listens: bool
    ) -> None:
        self._session = session
        self._gate = gate
        self.listens = listens
        self._closed: set[int] = set()
        if listens:
            session.execute(f'LISTEN "{channel}"')

    def close_gates(self, numbers: Sequence[int]) -> bool:
        """Go to sleep: from here on writers of these numbers notify. Returns whether one is closed
        that was open; look once more then. What another has closed stays that one's."""
        wanted = [number for number in numbers if number not in self._closed]
        if not self.listens or not wanted:
            return False
        rows = self._session.execute(
            "SELECT n FROM unnest(%s::int[]) AS numbers (n) WHERE pg_try_advisory_lock(%s, n)",
            [wanted, self._gate],
        ).fetchall()
        self._closed.update(row[0] for row in rows)
        return bool(rows)

    def open_gates(self) -> None:
        """Awake: writers need not say anything."""
        if self._closed:
            self._session.execute("SELECT pg_advisory_unlock_all()")
            self._closed.clear()

    def wait(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait for a notification, at most so long; True if there was one. It ends without one, a
        moment later, when ``until`` holds: a sleeper who is told to end must not sleep on."""
        end = time.monotonic() + seconds
        # What came along with an earlier answer is in no socket any more.
        if self._has_rung():
            return True
        # To ask psycopg each moment takes a hundredth of a processor; to ask the system, nothing.
        with DefaultSelector() as selector:
            selector.register(self._session.fileno(), EVENT_READ)
            while not until() and (left := end - time.monotonic()) > 0:
                if selector.select(min(left, MOMENT)) and self._has_rung():
                    return True
        return False

    def _has_rung(self) -> bool:
        return any(True for _ in self._session.notifies(timeout=0.0, stop_after=1))
