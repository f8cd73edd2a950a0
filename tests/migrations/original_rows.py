"""Rows of every kind that the original could leave behind, written in its own terms."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.databases import Migrated

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=1)
LATER = NOW + timedelta(minutes=1)


def provider(database: Migrated, **values: Any) -> uuid.UUID:
    key = uuid.uuid4()
    row = {"id": key, "name": f"p-{key}", "provider_type": "docker", **values}
    database.insert("provider_configs", **row)
    return key


def worker(database: Migrated, **values: Any) -> uuid.UUID:
    key = uuid.uuid4()
    row = {
        "id": key,
        "provider_id": None,
        "provider_type": "docker",
        "provider_resource_id": f"container-{key}",
        "state": "READY",
        "spec": {"image": "worker:1"},
        "handle": {"container": "c1"},
        **values,
    }
    row["provider_id"] = row["provider_id"] or provider(database)
    database.insert("workers", **row)
    return key


def job(database: Migrated, **values: Any) -> uuid.UUID:
    key = uuid.uuid4()
    row = {
        "id": key,
        "spec": {"command": {"type": "shell", "cmd": "true"}},
        "state": "SUCCEEDED",
        "created_at": NOW,
        **values,
    }
    database.insert("jobs", **row)
    return key


def event(database: Migrated, **values: Any) -> uuid.UUID:
    key = uuid.uuid4()
    row = {
        "id": key,
        "aggregate_id": uuid.uuid4(),
        "aggregate_type": "JOB",
        "event_type": "JobCreated",
        "payload": {"n": 1},
        **values,
    }
    database.insert("outbox_events", **row)
    return key


def dead_letter(database: Migrated, **values: Any) -> uuid.UUID:
    key = uuid.uuid4()
    row = {
        "id": key,
        "original_event_id": uuid.uuid4(),
        "aggregate_id": uuid.uuid4(),
        "aggregate_type": "SAGA",
        "event_type": "SagaFailed",
        "payload": {"n": 1},
        "error_message": "timed out",
        "retry_count": 3,
        "original_created_at": EARLIER,
        "moved_at": NOW,
        **values,
    }
    database.insert("outbox_dlq", **row)
    return key


def saga(database: Migrated, **values: Any) -> uuid.UUID:
    key = uuid.uuid4()
    database.insert("sagas", **{"id": key, "saga_type": "EXECUTION", "state": "PENDING", **values})
    return key


def step(database: Migrated, saga_id: uuid.UUID, **values: Any) -> uuid.UUID:
    key = uuid.uuid4()
    row = {
        "id": key,
        "saga_id": saga_id,
        "step_name": f"Step{key}",
        "step_order": 0,
        "created_at": NOW,
        **values,
    }
    database.insert("saga_steps", **row)
    return key
