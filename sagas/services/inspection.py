"""Look at sagas: lists, and one of them whole. Nothing is written."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from hodei.values import check_limit, check_text, identifier
from sagas import registry
from sagas.definition import steps_hash
from sagas.exceptions import SagaNotFound
from sagas.models import Saga, SagaAuditEvent, SagaLock, SagaStep, SagaStepAttempt
from sagas.states import SAGA_LIVE, SagaOutcome, SagaState, StepState

#: A runner that is there takes what is due within a poll; what is left for so long has none, or all
#: that know it are busy with others.
UNTAKEN = timedelta(minutes=1)
#: Sagas of one list; attempts, and events, of one saga.
MOST_FOUND, MOST_SHOWN = 10_000, 10_000
DONE = (StepState.COMPLETED.value, StepState.SKIPPED.value)
LIVE = [state.value for state in SagaState if state in SAGA_LIVE]
NEEDS_A_PERSON = Q(state__in=LIVE, incident__isnull=False) | Q(state=SagaState.FAILED.value)


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
    """The newest sagas that match, at most so many. Raises ValueError for a limit outside 1 to
    MOST_FOUND, and for a text that no saga can have."""
    check_limit(limit, MOST_FOUND)
    for field in ("kind", "correlation_id", "key"):
        check_text(field, getattr(wanted, field))
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
        rows = rows.filter(NEEDS_A_PERSON)
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
    """One saga with all that belongs to it; of attempts and events the newest MOST_SHOWN. Raises
    SagaNotFound."""
    if identifier(saga) is None:
        raise SagaNotFound(saga)
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
            .order_by("-started_at", "-id")[:MOST_SHOWN]
        )[::-1],
        locks=list(SagaLock.objects.using(using).filter(saga_id=saga).order_by("id")),
        events=list(
            SagaAuditEvent.objects.using(using)
            .filter(saga_id=saga)
            .order_by("-occurred_at")[:MOST_SHOWN]
        )[::-1],
    )


def waits_for(saga: Saga, now: datetime) -> str | None:
    """What a saga waits for, in words: a person, a definition, a runner (since when, where it is
    long), a time; None: nothing any more."""
    if saga.incident:
        return f"a person: {saga.incident}"
    if saga.state not in LIVE:
        return None
    if saga.lease_owner and saga.lease_until and saga.lease_until > now:
        return f"its runner {saga.lease_owner}"
    missing = _missing_definition(saga)
    rests = None if missing else _pause_or_time(saga, now)
    if rests is not None:
        return rests
    found = missing or _runner_or_room(saga)
    if saga.due_at is None or saga.due_at > now - UNTAKEN:
        return found
    return f"{found}; since {_utc(saga.due_at)}"


def without_definition(rows: QuerySet[Saga]) -> QuerySet[Saga]:
    """Of these, the live ones that rest since nobody knows their version: this process does not, as
    it was when they were started, and no runner drives them or another one of that version."""
    known = [
        Q(saga_type=one.kind, definition_version=one.version, steps_hash=steps_hash(one))
        for one in registry.definitions()
    ]
    driven = Saga.objects.filter(
        saga_type=OuterRef("saga_type"),
        definition_version=OuterRef("definition_version"),
        steps_hash=OuterRef("steps_hash"),
        state__in=LIVE,
        lease_until__gt=Now(),
    )
    unknown = rows.filter(~Exists(driven), state__in=LIVE)
    return unknown.exclude(reduce(or_, known)) if known else unknown


def untaken(rows: QuerySet[Saga]) -> QuerySet[Saga]:
    """Of these, the live ones that have been due for a while, and that no runner has taken. Runners
    are on record by what they hold alone: that nobody takes what is due is what tells of none."""
    return rows.filter(state__in=LIVE, due_at__lt=Now() - UNTAKEN)


def _pause_or_time(saga: Saga, now: datetime) -> str | None:
    if saga.pause_requested_at is not None:
        return "somebody to resume it"
    return _utc(saga.due_at) if saga.due_at is not None and saga.due_at > now else None


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


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
