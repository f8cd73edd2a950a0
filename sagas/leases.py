"""Claims, renews and gives back sagas, set-wise: each its own transaction, on a connection of the
runner's own."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hodei.sql import statement
from sagas.definition import Saga, steps_hash
from sagas.held import Held
from sagas.loading import saga_row, step_row
from sagas.records import StepRow

#: Seconds that a lease lasts, and how often it is renewed in that time.
LEASE_SECONDS = 30.0
RENEWALS = 3
#: The first number of the lock of a kind that has a limit; the second is the hash of its name.
LIMIT = 0x73616702
#: As many as fit, of a kind without a limit.
NO_LIMIT = 2**31 - 1


class Clock:
    """The database's clock, read with each claim and each write, and counted on by this machine's
    steady one in between."""

    def __init__(self) -> None:
        self._base: datetime | None = None
        self._read_at = 0.0

    def read(self, instant: datetime) -> None:
        self._base, self._read_at = instant, time.monotonic()

    def now(self) -> datetime:
        if self._base is None:
            raise RuntimeError("The database has not said yet what time it is.")
        return self._base + timedelta(seconds=time.monotonic() - self._read_at)


class _Wanted:
    """What is still to be claimed."""

    def __init__(self, number: int, *, suspects: bool) -> None:
        self.number = number
        self.suspects = suspects
        self.found: list[Held] = []

    def take(self, found: Sequence[Held]) -> None:
        self.found += found
        self.number -= len(found)
        self.suspects = self.suspects and not any(held.is_suspect for held in found)


class Leases:
    """Sagas of the definitions it is given, leased to one runner. ``session`` is a psycopg
    connection in autocommit, or what looks like one."""

    def __init__(
        self,
        owner: str,
        definitions: Sequence[type[Saga]],
        *,
        seconds: float = LEASE_SECONDS,
        rng: Random | None = None,
    ) -> None:
        self.owner = owner
        self.seconds = seconds
        self.clock = Clock()
        self._rng = rng or Random()  # noqa: S311  (to spread load, not to hide anything)
        self._known = {(one.kind, one.version): (one, steps_hash(one)) for one in definitions}

    @property
    def names(self) -> dict[str, Any]:
        """The definitions as the statements want them."""
        return {
            "kinds": [kind for kind, _ in self._known],
            "versions": [version for _, version in self._known],
        }

    def claim(self, session: Any, number: int, *, suspects: bool = True) -> list[Held]:
        """Lease up to so many due sagas; those of a kind with a limit only as far as it goes. Among
        them is one, at most, that is kept apart (``plan.SUSPECT``), and none without
        ``suspects``."""
        keys = list(self._known)
        # A kind with many due sagas is not to be the first each time.
        self._rng.shuffle(keys)
        free = [key for key in keys if self._known[key][0].limit is None]
        limited: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for key in keys:
            if self._known[key][0].limit is not None:
                limited[key[0]].append(key)
        wanted = _Wanted(number, suspects=suspects)
        if free:
            wanted.take(self._claim(session, free, NO_LIMIT, wanted))
        for kind, versions in limited.items():
            if wanted.number:
                self._claim_limited(session, kind, versions, wanted)
        return wanted.found

    def _claim_limited(
        self, session: Any, kind: str, versions: Sequence[tuple[str, int]], wanted: _Wanted
    ) -> None:
        if not self._has_due(session, versions):
            return
        limit = max(self._known[key][0].limit or 0 for key in versions)
        with session.transaction():
            session.execute(
                "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LIMIT, kind]
            ).fetchone()
            for key in versions:
                # In statements of their own: they see what was committed before the lock was had.
                row = session.execute(statement("sagas", "room"), {"kind": kind}).fetchone()
                room = max(limit - row[0], 0)
                if wanted.number:
                    wanted.take(self._claim(session, [key], room, wanted))

    def _has_due(self, session: Any, keys: Sequence[tuple[str, int]]) -> bool:
        row = session.execute(
            statement("sagas", "has_due"),
            {"kinds": [kind for kind, _ in keys], "versions": [version for _, version in keys]},
        ).fetchone()
        return bool(row[0])

    def _claim(
        self, session: Any, keys: Sequence[tuple[str, int]], room: int, wanted: _Wanted
    ) -> list[Held]:
        asked = time.monotonic()
        rows = session.execute(
            statement("sagas", "claim"),
            {
                "kinds": [kind for kind, _ in keys],
                "versions": [version for _, version in keys],
                "hashes": [self._known[key][1] for key in keys],
                "rooms": [room] * len(keys),
                "number": wanted.number,
                "suspects": int(wanted.suspects),
                "owner": self.owner,
                "seconds": self.seconds,
            },
        ).fetchall()
        return self._held(session, rows, asked)

    def reload(self, session: Any, sagas: Sequence[Held]) -> list[Held]:
        """Those that are still ours, as they are stored now."""
        asked = time.monotonic()
        rows = session.execute(
            statement("sagas", "reload"),
            {**ids_of(sagas), "owner": self.owner, "seconds": self.seconds},
        ).fetchall()
        return self._held(session, rows, asked)

    def _held(self, session: Any, rows: Sequence[tuple[Any, ...]], asked: float) -> list[Held]:
        if not rows:
            return []
        self.clock.read(rows[0][-1])
        steps: dict[uuid.UUID, list[StepRow]] = defaultdict(list)
        found = session.execute(statement("sagas", "steps"), {"ids": [row[0] for row in rows]})
        for row in found.fetchall():
            steps[row[0]].append(step_row(row))
        return [
            Held(
                self._known[row[1], row[2]][0],
                saga_row(row),
                tuple(steps[row[0]]),
                valid_until=asked + self.seconds,
            )
            for row in rows
        ]

    def renew(self, session: Any, sagas: Sequence[Held]) -> set[uuid.UUID]:
        """Prolong these leases; returns the ids of those that were."""
        rows = session.execute(
            statement("sagas", "renew"), {**ids_of(sagas), "seconds": self.seconds}
        ).fetchall()
        return {row[0] for row in rows}

    def release(self, session: Any, sagas: Sequence[Held]) -> None:
        """Let others have them at once."""
        if sagas:
            session.execute(statement("sagas", "release"), ids_of(sagas))

    def release_others(self, session: Any, sagas: Sequence[Held]) -> None:
        """Let others have what is leased to this runner and is not among these."""
        session.execute(
            statement("sagas", "release_others"),
            {"owner": self.owner, "ids": [held.saga.id for held in sagas]},
        )

    def until_due(self, session: Any) -> float | None:
        """Seconds until a saga is due that is not now; None where there is none."""
        row = session.execute(statement("sagas", "next_due"), self.names).fetchone()
        return None if row is None or row[0] is None else max(row[0], 0.0)


def ids_of(sagas: Sequence[Held]) -> dict[str, Any]:
    return {
        "ids": [held.saga.id for held in sagas],
        "epochs": [held.saga.epoch for held in sagas],
    }
