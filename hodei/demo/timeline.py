"""Tells what is written down, line by line, as it is: the audit, the sagas' own, and the events."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.db import connection

_TOLD = """
SELECT id::text, occurred_at, 'audit', event_type,
       coalesce(payload->>'state', payload->>'reason', ''),
       coalesce(payload->>'to', payload->>'worker_id')
  FROM audit_logs
UNION ALL
SELECT e.id::text, e.occurred_at, 'saga', s.saga_type,
       lower(replace(e.event_type, '_', ' ')) || coalesce(': ' || e.step_name, ''), NULL
  FROM saga_audit_events AS e JOIN sagas AS s ON s.id = e.saga_id
UNION ALL
SELECT id::text, created_at, 'event', event_type, lower(aggregate_type), NULL
  FROM outbox_events
 ORDER BY 2, 1
"""


class Timeline:
    """Seconds count from its making. Short names stand for workers: the first, the second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seen: set[str] = set()
        self._workers: list[str] = []

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def say(self, words: str) -> None:
        """A line of our own."""
        self.look()
        _print(f"\n{self.elapsed():6.1f} s  {words}")

    def look(self) -> None:
        """Tell what is new."""
        with connection.cursor() as cursor:
            cursor.execute(_TOLD)
            rows = cursor.fetchall()
        for row in rows:
            if row[0] not in self._seen:
                self._seen.add(row[0])
                self._tell(*row[2:])

    def _tell(self, kind: str, name: str, words: str, worker: str | None) -> None:
        about = f"({self._name(worker)})" if worker else ""
        text = f"{name:<24} {' '.join(filter(None, (words, about)))}".rstrip()
        _print(f"{self.elapsed():6.1f} s    {kind:<6} {text}")

    def _name(self, worker: str) -> str:
        if worker not in self._workers:
            self._workers.append(worker)
        return f"worker {self._workers.index(worker) + 1}"


def rows(sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
