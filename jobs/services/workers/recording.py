"""What happened to a worker, on record."""

from __future__ import annotations

import uuid
from typing import Any

from jobs import telling
from jobs.events import KINDS, WorkerEvent
from jobs.services import audit
from jobs.states import WorkerState


def tell_of(worker_id: uuid.UUID, state: WorkerState, using: str) -> None:
    """What a worker does by itself, where all transitions are on record."""
    if telling.is_told(WorkerEvent.STATE_CHANGED):
        event, actor = WorkerEvent.STATE_CHANGED, f"worker {worker_id}"
        record(event, worker_id, actor=actor, using=using, state=state.value)


def record(event: str, worker_id: uuid.UUID, *, actor: str, using: str, **facts: Any) -> None:
    about = worker_id if event in KINDS else None
    payload = {"worker_id": str(worker_id), **facts}
    audit.record(event, payload, actor=actor, about=about, using=using)
