from __future__ import annotations

import uuid
from typing import Any

import psycopg

from jobs.services import providers, workers
from tests.jobs.conftest import Jobs

Session = psycopg.Connection[Any]


WHO: dict[str, Any] = {"reason": "a test", "actor": "me"}


def make_provider(name: str = "docker", **options: Any) -> uuid.UUID:
    found = uuid.uuid4()
    providers.save(found, name=name, provider_type="docker", actor="me", **options)
    return found


def make_worker(jobs: Jobs, state: str = "READY", provider: uuid.UUID | None = None) -> uuid.UUID:
    found = uuid.uuid4()
    made = provider or make_provider(f"for {found}")
    workers.create(found, provider_id=made, resource_id="c1", actor="me")
    jobs.execute(
        "UPDATE workers SET state = %s, last_heartbeat = now() WHERE id = %s", [state, found]
    )
    return found


def state_of(jobs: Jobs, worker: uuid.UUID) -> str:
    return str(jobs.value("SELECT state FROM workers WHERE id = %s", [worker]))


def events(jobs: Jobs) -> list[str]:
    return [row[0] for row in jobs.rows("SELECT event_type FROM audit_logs ORDER BY occurred_at")]


def silence(jobs: Jobs, worker: uuid.UUID, seconds: float = 31) -> None:
    jobs.execute(
        "UPDATE workers SET last_heartbeat = now() - %s * interval '1 s' WHERE id = %s",
        [seconds, worker],
    )
