"""Look at sagas: lists, and one of them whole. Nothing is written."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count, Q
from django.db.models.functions import Now

from sagas import registry
from sagas.definition import steps_hash
from sagas.exceptions import SagaNotFound
from sagas.models import Saga, SagaAuditEvent, SagaLock, SagaStep, SagaStepAttempt
from sagas.states import SAGA_LIVE, SagaOutcome, SagaState, StepState

DONE = (StepState.COMPLETED.value, StepState.SKIPPED.value)
LIVE = [state.value for state in SagaState if state in SAGA_LIVE]


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaFilter:
    """Which sagas; None is any. ``needs_a_person``: only those that wait for one."""

    kind: str | None = None
    state: SagaState | None = None
    outcome: SagaOutcome | None = None
    correlation_id: str | None = None
    key: str | None = None
    live: bool = False
    needs_a_person: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A saga of a list. ``waits_for``: what it waits for, in words; None: it has ended."""

    saga: Saga
    now: datetime
    done: int
    total: int
    waits_for: str | None


@dataclass(frozen=True, slots=True)
class SagaDetail:
    saga: Saga
    waits_for: str | None
    steps: Sequence[SagaStep]
    attempts: Sequence[SagaStepAttempt]
    locks: Sequence[SagaLock]
    events: Sequence[SagaAuditEvent]


def find(wanted: SagaFilter, *, limit: int, using: str = DEFAULT_DB_ALIAS) -> list[Listed]:
    """The newest sagas that match, at most so many."""
    rows = Saga.objects.using(using).annotate(now=Now()).order_by("-started_at", "-id")
    exact = {
        "saga_type": wanted.kind,
        "state": wanted.state and wanted.state.value,
        "outcome": wanted.outcome and wanted.outcome.value,
        "correlation_id": wanted.correlation_id,
        "business_key": wanted.key,
    }
    rows = rows.filter(**{name: value for name, value in exact.items() if value is not None})
    if wanted.live or wanted.key is not None:
        # The index of keys has live sagas alone.
        rows = rows.filter(state__in=LIVE)
    if wanted.needs_a_person:
        rows = rows.filter(
            Q(state__in=LIVE, incident__isnull=False) | Q(state=SagaState.FAILED.value)
        )
    found = list(rows[:limit])
    counted = {
        row["saga_id"]: row
        for row in SagaStep.objects.using(using)
        .filter(saga_id__in=[saga.pk for saga in found])
        .values("saga_id")
        .annotate(total=Count("id"), done=Count("id", filter=Q(state__in=DONE)))
    }
    nothing = {"done": 0, "total": 0}
    return [
        Listed(
            saga,
            saga.now,
            counted.get(saga.pk, nothing)["done"],
            counted.get(saga.pk, nothing)["total"],
            waits_for(saga, saga.now),
        )
        for saga in found
    ]


def detail(saga: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> SagaDetail:
    """One saga with all that belongs to it. Raises SagaNotFound."""
    row = Saga.objects.using(using).annotate(now=Now()).filter(pk=saga).first()
    if row is None:
        raise SagaNotFound(saga)
    return SagaDetail(
        saga=row,
        waits_for=waits_for(row, row.now),
        steps=list(SagaStep.objects.using(using).filter(saga_id=saga).order_by("step_order")),
        attempts=list(
            SagaStepAttempt.objects.using(using)
            .filter(step__saga_id=saga)
            .select_related("step")
            .order_by("started_at", "id")
        ),
        locks=list(SagaLock.objects.using(using).filter(saga_id=saga).order_by("id")),
        events=list(
            SagaAuditEvent.objects.using(using).filter(saga_id=saga).order_by("occurred_at")
        ),
    )


def waits_for(saga: Saga, now: datetime) -> str | None:
    """What a saga waits for, in words: a person, a definition, a runner, a time; None: nothing any
    more."""
    if saga.incident:
        return f"a person: {saga.incident}"
    if saga.state not in LIVE:
        return None
    found = _missing_definition(saga)
    if found is None and saga.lease_owner and saga.lease_until and saga.lease_until > now:
        found = f"its runner {saga.lease_owner}"
    elif found is None and saga.pause_requested_at is not None:
        found = "somebody to resume it"
    elif found is None and saga.due_at is not None and saga.due_at > now:
        found = f"{saga.due_at:%Y-%m-%d %H:%M:%S} UTC"
    return found or _runner_or_room(saga)


def _runner_or_room(saga: Saga) -> str:
    limit = registry.definition(saga.saga_type, saga.definition_version).limit
    if saga.state == SagaState.PENDING.value and limit is not None:
        return f"a runner, and for room: at most {limit} of its kind are under way"
    return "a runner"


def _missing_definition(saga: Saga) -> str | None:
    try:
        known = registry.definition(saga.saga_type, saga.definition_version)
    except registry.SagaNotRegistered:
        return f"a runner with {saga.saga_type} version {saga.definition_version}"
    if saga.steps_hash != steps_hash(known):
        return (
            f"a runner with the steps that {saga.saga_type} version {saga.definition_version} had "
            "when it was started"
        )
    return None
