"""Which relay delivers what: leases of lanes, each with a fence.

A destination's events are spread over 64 lanes by their aggregate. A relay delivers only from lanes
that it has leased, so events of one aggregate are never with two of them. A lease that is not
renewed in time is anybody's, and its fence, which grows with each lease, keeps the old owner from
writing when it comes back to life.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hodei.sql import statement
from outbox.keys import LANES

if TYPE_CHECKING:
    import psycopg

#: Seconds that a lease lasts, and how often it is renewed in that time.
LEASE_SECONDS = 15.0
RENEWALS = 4


@dataclass(slots=True)
class Lease:
    """One leased lane."""

    lane: int
    fence: int
    #: The last owner did not give it back, so something in it may have killed the process.
    suspect: bool


class Leases:
    """The leases of one relay on one destination; used by its thread and by the one that renews."""

    def __init__(self, destination: str, owner: str, *, seconds: float = LEASE_SECONDS) -> None:
        self.destination = destination
        self.owner = owner
        self.seconds = seconds
        self._held: dict[int, Lease] = {}
        self._mutex = threading.Lock()
        #: By this process's clock (``time.monotonic``); counted from before the server was asked.
        self._valid_until = 0.0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def lanes(self) -> list[int]:
        with self._mutex:
            return sorted(self._held)

    def suspects(self) -> set[int]:
        with self._mutex:
            return {lane for lane, lease in self._held.items() if lease.suspect}

    def cleared(self, lanes: Collection[int]) -> None:
        """What was in these lanes has been sent, and this process lives."""
        with self._mutex:
            for lane in lanes:
                if lane in self._held:
                    self._held[lane].suspect = False

    def may_send(self) -> bool:
        """Whether the leases are certainly still ours, with time enough to send something."""
        return time.monotonic() < self._valid_until - self.seconds / RENEWALS

    def arguments(self, lanes: Collection[int] | None = None) -> dict[str, Any]:
        """The leases as the statements want them: destination, owner, lanes and fences."""
        with self._mutex:
            held = [
                lease
                for lane, lease in sorted(self._held.items())
                if lanes is None or lane in lanes
            ]
        return {
            "destination": self.destination,
            "owner": self.owner,
            "lanes": [lease.lane for lease in held],
            "fences": [lease.fence for lease in held],
        }

    def prepare(self, session: psycopg.Connection[Any]) -> None:
        """Make the rows of the destination's lanes."""
        session.execute(statement("outbox", "make_lanes"), {"destination": self.destination})

    def claim(self, session: psycopg.Connection[Any], number: int) -> list[int]:
        """Lease up to so many free lanes; returns those that are new."""
        before = time.monotonic()
        if not self._held:
            self._valid_until = before + self.seconds
        rows = session.execute(
            statement("outbox", "claim_lanes"),
            {
                "destination": self.destination,
                "owner": self.owner,
                "seconds": self.seconds,
                "number": number,
            },
        ).fetchall()
        with self._mutex:
            for lane, fence, left_open in rows:
                self._held[lane] = Lease(lane, fence, suspect=left_open)
        return [row[0] for row in rows]

    def renew(self, session: psycopg.Connection[Any]) -> list[int]:
        """Prolong all of them; returns those that were lost to others."""
        asked, before = self.arguments(), time.monotonic()
        if not asked["lanes"]:
            return []
        rows = session.execute(
            statement("outbox", "renew_lanes"), {**asked, "seconds": self.seconds}
        ).fetchall()
        kept = {row[0] for row in rows}
        self._valid_until = before + self.seconds
        lost = []
        with self._mutex:
            for lane, fence in zip(asked["lanes"], asked["fences"], strict=True):
                held = self._held.get(lane)
                # One that was given back meanwhile is not lost, and one leased anew is kept.
                if lane not in kept and held is not None and held.fence == fence:
                    del self._held[lane]
                    lost.append(lane)
        return lost

    def release(self, session: psycopg.Connection[Any], lanes: Sequence[int] | None = None) -> None:
        """Give these back, or all, so that others need not wait for the leases to end."""
        given = self.arguments(lanes)
        if given["lanes"]:
            self.forget(given["lanes"])
            session.execute(statement("outbox", "release_lanes"), given)

    def forget(self, lanes: Collection[int] | None = None) -> None:
        """They are not ours any more."""
        with self._mutex:
            for lane in list(self._held) if lanes is None else lanes:
                self._held.pop(lane, None)


def fair_share(relays: int, most: int = LANES) -> int:
    """Pure: how many lanes one of so many relays should have, at most ``most``."""
    return min(-(-LANES // max(relays, 1)), most)
