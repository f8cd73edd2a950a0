"""Events on their way, dead letters in every end they can have, and what they hold back."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Model

from hodei.sample.draft import Draft
from hodei.sample.jobs import SampleJobs
from outbox.models import DeadLetter, DeadLetterActionRecord, Event, InboxEntry, TroubledKey
from outbox.states import DeadLetterAction, EventStatus, KeyState

REJECTED = (
    "HTTP 422 from https://billing.example/hooks/jobs: "
    '{{"error": "currency is required", "job": "{job}"}}'
)
FINGERPRINT = hashlib.sha256(b"Rejected HTTP 422 currency is required").hexdigest()
TOO_LARGE = "Payload of 1,310,720 bytes is over the broker's limit of 1,048,576"


def sample_outbox(draft: Draft, sample: SampleJobs, using: str) -> list[Model]:
    """The rows of the outbox app. Takes their numbers from the sequence of the events."""
    return [*_delivered(draft, sample), *_waiting(draft, sample), *_dead(draft, sample, using)]


def _event(draft: Draft, kind: str, about: uuid.UUID, at: datetime, **values: Any) -> Event:
    return Event(
        **{
            "id": draft.id(),
            "aggregate_id": about,
            "aggregate_type": "WORKER" if kind.startswith("Worker") else "JOB",
            "event_type": kind,
            "payload": {"occurred_at": at.isoformat()},
            "metadata": {"correlation_id": None, "traceparent": draft.trace()},
            "created_at": at,
            **values,
        }
    )


def _published(at: datetime) -> dict[str, Any]:
    return {
        "status": EventStatus.PUBLISHED.value,
        "published_at": at + timedelta(milliseconds=35),
        "attempts_started": 1,
        "attempts_finished": 1,
    }


def _delivered(draft: Draft, sample: SampleJobs) -> list[Model]:
    told: list[tuple[datetime, str, uuid.UUID, dict[str, Any]]] = []
    for job in sample.jobs.values():
        told.append((job.created_at, "JobCreated", job.id, {"name": job.name, "queue": job.queue}))
        if job.state == "SUCCEEDED" and job.completed_at:
            told.append((job.completed_at, "JobSucceeded", job.id, {"result": job.result}))
    for worker in sample.workers.values():
        if worker.last_heartbeat:
            payload = {"name": worker.provider_resource_id}
            told.append((worker.created_at, "WorkerRegistered", worker.id, payload))
    events = [
        _event(draft, kind, about, at, payload=payload, **_published(at))
        for at, kind, about, payload in sorted(told, key=lambda entry: entry[0])
    ]
    seen = [
        InboxEntry(
            consumer=consumer,
            event_id=str(event.id),
            received_at=event.created_at + timedelta(milliseconds=80),
        )
        for consumer in ("billing", "search-index")
        for event in events[-6:]
    ]
    return [*events, *seen]


def _waiting(draft: Draft, sample: SampleJobs) -> list[Model]:
    """Written a moment ago, and one that waits for its next attempt."""
    at = draft.ago(seconds=20)
    retried = sample.jobs["sync-catalogue"].id
    again = draft.soon(seconds=40)
    fresh = _event(draft, "JobAssigned", sample.jobs["thumbnail 99119"].id, draft.ago(seconds=1))
    failing = _event(
        draft,
        "JobFailed",
        retried,
        at,
        payload={"exit_code": 12, "attempts": 3},
        retry_count=2,
        attempts_started=2,
        attempts_finished=2,
        next_attempt_at=again,
        error_class="Unavailable",
        last_error="HTTP 503 from https://hooks.example/jobs",
        held=True,
    )
    held = TroubledKey(
        destination="default",
        lane=lane_of(retried),
        aggregate_type="JOB",
        aggregate_id=retried,
        state=KeyState.BACKOFF.value,
        event_id=failing.id,
        retry_at=again,
        since=at,
    )
    return [fresh, failing, held]


def _dead(draft: Draft, sample: SampleJobs, using: str) -> list[Model]:
    """Three of one failure, one of another, one discarded, one sent again with success."""
    rows: list[Model] = []
    actions: list[Model] = []
    for minutes, job_name, kind, error, end in (
        (181, "settlement 2289", "JobStarted", TOO_LARGE, DeadLetterAction.DISCARDED),
        (96, "transcode 2204", "JobTimedOut", "HTTP 410 Gone", DeadLetterAction.REQUEUED),
        (90, "invoice-export 4817", "InvoiceExported", REJECTED, DeadLetterAction.RESOLVED),
        (61, "invoice-export 4818", "InvoiceExported", REJECTED, None),
        (53, "settlement 2290", "SettlementFailed", REJECTED, None),
        (12, "settlement 2291", "SettlementStarted", REJECTED, None),
        (7, "thumbnail 99118", "ThumbnailStored", TOO_LARGE, None),
    ):
        job = sample.jobs[job_name]
        text = error.format(job=job.id)
        again = end is DeadLetterAction.REQUEUED
        born, died = draft.ago(minutes=minutes + 9), draft.ago(minutes=minutes)
        common = {
            "aggregate_id": job.id,
            "aggregate_type": "JOB",
            "event_type": kind,
            "payload": {
                "job": {"id": str(job.id), "name": job.name, "queue": job.queue},
                "customer": {"number": "C-20917", "access_token": "example-only"},
                "amount": {"value": "1290.50"},
            },
            "metadata": {"correlation_id": job.correlation_id, "traceparent": draft.trace()},
            "idempotency_key": f"{kind}:{job.name}",
            "error_class": "TooLarge" if error is TOO_LARGE else "Rejected",
            "fingerprint": FINGERPRINT
            if error is REJECTED
            else hashlib.sha256(error.encode()).hexdigest(),
            "seq": _next_number(using),
        }
        ended = died + timedelta(minutes=4)
        event = Event(
            id=draft.id(),
            created_at=born,
            status=(EventStatus.PUBLISHED if again else EventStatus.FAILED).value,
            published_at=ended + timedelta(seconds=1) if again else None,
            retry_count=0 if again else 8,
            attempts_started=9 if again else 8,
            attempts_finished=9 if again else 8,
            last_error=text,
            **common,
        )
        letter = DeadLetter(
            id=draft.id(),
            original_event_id=event.id,
            error_message=text,
            retry_count=8,
            original_created_at=born,
            moved_at=died,
            **common,
        )
        actions.append(_action(letter, DeadLetterAction.DIED, "system", died, None))
        rows += [event, letter]
        if end is None:
            rows += _parked(draft, letter)
        else:
            letter.resolved_at, letter.resolved_by = ended, "ana@example.org"
            letter.resolution_notes = NOTES[end]
            actions.append(_action(letter, end, "ana@example.org", ended, NOTES[end]))
    return [*rows, *actions]


NOTES = {
    DeadLetterAction.DISCARDED: "The consumer was told by hand; the start of a run is no news now",
    DeadLetterAction.REQUEUED: "The hook has moved, and its address is changed in the settings",
    DeadLetterAction.RESOLVED: "Billing entered the invoice by hand, ticket 8812",
}


def _action(
    letter: DeadLetter, action: DeadLetterAction, actor: str, at: datetime, note: str | None
) -> DeadLetterActionRecord:
    died = action is DeadLetterAction.DIED
    details = {"error_class": letter.error_class, "attempts": letter.retry_count}
    return DeadLetterActionRecord(
        dead_letter=letter,
        action=action.value,
        actor=actor,
        note=note,
        details=details if died else None,
        occurred_at=at,
    )


def _parked(draft: Draft, letter: DeadLetter) -> list[Model]:
    """An open dead letter parks its aggregate, and what follows it waits."""
    key = TroubledKey(
        destination="default",
        lane=lane_of(letter.aggregate_id),
        aggregate_type=letter.aggregate_type,
        aggregate_id=letter.aggregate_id,
        state=KeyState.PARKED.value,
        event_id=letter.original_event_id,
        dead_letter_id=letter.id,
        since=letter.moved_at,
    )
    if not letter.event_type.startswith("Settlement"):
        return [key]
    at = letter.moved_at + timedelta(minutes=2)
    return [key, _event(draft, "SettlementReported", letter.aggregate_id, at, held=True)]


def lane_of(aggregate: uuid.UUID) -> int:
    """The lane that the database computes for an event of this aggregate."""
    return aggregate.bytes[15] & 63


def _next_number(using: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT nextval('outbox_events_seq_seq')")
        (number,) = cursor.fetchone()
        return int(number)
