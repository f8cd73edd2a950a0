"""Relays in processes, what they deliver, and what their database says of it."""

from __future__ import annotations

import random
import signal
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.destinations import Delivery, read
from tests.processes import eventually

#: Aggregates: half of the events are of the few.
HOT, COLD = 20, 1_000


class Scene:
    """A database, and relays that deliver from it to a publisher with these options."""

    def __init__(
        self,
        session: psycopg.Connection[Any],
        start: Callable[..., subprocess.Popen[str]],
        path: Path,
    ) -> None:
        self.session = session
        self.path = path
        self._start = start
        self._written = 0
        self._relays = 0

    def write(self, events: int, *, hot: int = HOT, cold: int = COLD) -> None:
        """Store so many events; ``n`` grows within each aggregate."""
        self.session.execute(
            """
            INSERT INTO outbox_events (aggregate_id, aggregate_key, aggregate_type, event_type,
                                       payload)
            SELECT md5(key)::uuid, key, 'JOB', 'Counted', jsonb_build_object('n', n)
              FROM (SELECT n, CASE WHEN mod(n, 2) = 0 THEN 'hot-' || mod(n / 2, %s)
                                   ELSE 'cold-' || mod(n / 2, %s) END AS key
                      FROM generate_series(%s::int, %s::int) AS s (n)) AS drawn
             ORDER BY n
            """,
            [hot, cold, self._written, self._written + events - 1],
        )
        self._written += events

    def relay(
        self,
        *words: str,
        publisher: str = "Journal",
        through: dict[str, Any] | None = None,
        **options: Any,
    ) -> subprocess.Popen[str]:
        """Start one. Each has a seed of its own, the same in every run."""
        self._relays += 1
        options = {"PATH": str(self.path), "SEED": self._relays, **options}
        destination = {
            "PUBLISHER": f"tests.faults.destinations.{publisher}",
            "OPTIONS": options,
            "MAX_ATTEMPTS": 1000,
        }
        outbox = {"DESTINATIONS": {"default": destination}}
        return self._start("outbox_relay", *words, outbox=outbox, through=through)

    def survive(self, events: int, kills: int, *, seconds: float = 600, **options: Any) -> None:
        """Store and deliver so many events with three relays. Whenever something has arrived, one
        of them is killed at random and more is stored."""
        rng = random.Random(kills)
        portion = events // (kills + 1)
        self.write(events - kills * portion)
        relays = [self.relay(**options) for _ in range(3)]
        left, size = kills, 0

        def is_done() -> bool:
            nonlocal left, size
            if left and self._size() > size:
                rng.choice(relays).send_signal(signal.SIGKILL)
                left, size = left - 1, self._size()
                self.write(portion)
            for place, relay in enumerate(relays):
                if relay.poll() is not None:
                    self._forget(relay.pid)
                    relays[place] = self.relay(**options)
            self._end_pauses()
            return not left and not self.count("status = 'PENDING'")

        assert eventually(is_done, seconds), f"{self.count('published_at IS NULL')} still wait"

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def bury(self, relay: subprocess.Popen[str]) -> None:
        """End the leases of a relay that died, when the server has done the last thing that it was
        asked for: that may have been to renew them. No other is at work."""
        sessions = "datname = current_database() AND application_name LIKE 'hodei outbox%'"
        count = f"SELECT count(*) FROM pg_stat_activity WHERE {sessions}"
        assert eventually(lambda: self.value(count) == 0)
        self._forget(relay.pid)

    def _forget(self, process: int) -> None:
        """End the leases of a dead relay, and its share, which others would wait for."""
        for statement in (
            "UPDATE outbox_lanes SET leased_until = now() WHERE owner ~ %s",
            "DELETE FROM outbox_relays WHERE owner ~ %s",
        ):
            self.session.execute(statement, [f"-{process}-"])

    def _end_pauses(self) -> None:
        """Let every retry time have come."""
        self.session.execute(
            "UPDATE outbox_keys SET retry_at = now() WHERE state = 'BACKOFF' AND retry_at > now()"
        )

    def count(self, condition: str) -> int:
        return int(self.value(f"SELECT count(*) FROM outbox_events WHERE {condition}"))

    def value(self, sql: str) -> Any:
        row = self.session.execute(sql).fetchone()
        return row[0] if row else None

    def deliveries(self) -> list[Delivery]:
        """What relays have written into the file, in order."""
        return read(self.path)

    def all_published(self, events: int) -> bool:
        return eventually(lambda: self.count("status = 'PUBLISHED'") == events)


def check_order(deliveries: Sequence[Delivery]) -> int:
    """Fail where an event was first delivered behind a later one; returns the duplicates."""
    last: dict[str, int] = defaultdict(lambda: -1)
    ids: dict[tuple[str, int], str] = {}
    duplicates = 0
    for subject, number, event_id in deliveries:
        if (subject, number) in ids:
            duplicates += 1
            assert ids[subject, number] == event_id, "a duplicate has another id"
            continue
        ids[subject, number] = event_id
        assert number > last[subject], f"{subject}: {number} came after {last[subject]}"
        last[subject] = number
    return duplicates
