"""What a built-in saga has brought about, on record and as an event, in the step's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from jobs.conf import wanted
from jobs.services import audit
from outbox.services.publish import publish
from sagas.builtin.inputs import actor_of
from sagas.definition import StepContext

JOB, WORKER = "JOB", "WORKER"


def tell(
    context: StepContext,
    event: str,
    aggregate: str,
    aggregate_id: uuid.UUID,
    facts: Mapping[str, Any],
) -> None:
    """Write an audit record; and an event, where jobs have events (JOBS_EVENTS). Joins the
    transaction of a local step."""
    payload = {**facts, "saga_id": str(context.saga_id)}
    audit.record(
        event,
        payload,
        actor=actor_of(context),
        correlation_id=context.correlation_id,
        using=context.using,
    )
    if wanted().events:
        publish(
            event,
            aggregate,
            aggregate_id,
            payload,
            idempotency_key=f"{context.key}:{event}",
            metadata={"correlation_id": context.correlation_id} if context.correlation_id else None,
            using=context.using,
        )
