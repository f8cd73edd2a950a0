from __future__ import annotations

import json
import uuid
from random import Random
from typing import Any

from jobs import leases, retry
from jobs.runs import Claimed, Failed, Outcome
from jobs.states import FailureKind
from jobs.testing import _OnDjangosConnection
from tests.jobs.conftest import Jobs

WHO: dict[str, Any] = {"reason": "as agreed", "actor": "ada"}


WORKER = uuid.UUID(int=7)


CONSOLE = {"PUBLISHER": "outbox.publishers.console.ConsolePublisher"}


class Told(Jobs):
    """The tables within one transaction, and what a worker does there."""

    def __init__(self) -> None:
        self.session: Any = _OnDjangosConnection("default")

    def claim(self, *, starting: int = 1, number: int = 10) -> list[Claimed]:
        return leases.claim(self.session, WORKER, ["default"], number, starting=starting)

    def end(self, *outcomes: Outcome, jobs: list[Claimed] | None = None) -> None:
        """Let the claimed jobs end so."""
        held = self.claim(starting=len(outcomes)) if jobs is None else jobs
        leases.finish(
            self.session,
            [
                retry.end(job, outcome, rng=Random(1))
                for job, outcome in zip(held, outcomes, strict=True)
            ],
        )

    def lose(self) -> None:
        self.execute("UPDATE job_leases SET expires_at = now() - interval '1 minute'")
        leases.rescue(self.session)

    def audit(self) -> list[str]:
        return [
            row[0]
            for row in self.rows("SELECT event_type FROM audit_logs ORDER BY occurred_at, id")
        ]

    def events(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT event_type FROM outbox_events ORDER BY seq")]

    def payloads(self, table: str) -> list[dict[str, Any]]:
        order = "seq" if table == "outbox_events" else "occurred_at, id"
        found = self.rows(f"SELECT payload::text FROM {table} ORDER BY {order}")
        return [json.loads(row[0]) for row in found]


def failed(retryable: bool = False, message: str = "no") -> Failed:
    return Failed(FailureKind.UNKNOWN, message, retryable=retryable, retry_in=60.0)
