"""Which dead letters are meant: one set of conditions for lists, previews and bulk actions."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from hodei.values import check_id, check_instant, check_limit, check_text, member, shown
from outbox.models import DeadLetter, DeadLetterActionRecord, TroubledKey
from outbox.states import DeadLetterAction, DeadLetterState, KeyState

#: PostgreSQL's integer.
MOST_REQUEUES = 2**31 - 1
#: The actions that close a dead letter. The state they leave it in has the same name.
CLOSING = (
    DeadLetterAction.REQUEUED,
    DeadLetterAction.RESOLVED,
    DeadLetterAction.DISCARDED,
    DeadLetterAction.RESENT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """What all meant dead letters have in common. Without any condition: all that are open.

    ``ids`` are of dead letters or of their events; ``fingerprint`` is the beginning of one;
    ``since`` and ``before`` are about when the event died the last time; ``requeued`` is how often
    at least it was sent again. ``state`` None means all states.
    """

    state: DeadLetterState | None = DeadLetterState.OPEN
    ids: Sequence[uuid.UUID] | None = None
    error_class: str | None = None
    event_type: str | None = None
    aggregate_type: str | None = None
    aggregate_id: uuid.UUID | None = None
    destination: str | None = None
    fingerprint: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    requeued: int = 0

    def __post_init__(self) -> None:
        for name in ("error_class", "event_type", "aggregate_type", "destination", "fingerprint"):
            check_text(name, getattr(self, name))
        for name in ("since", "before"):
            check_instant(name, getattr(self, name))
        check_id("aggregate_id", self.aggregate_id)
        for one in self.ids or ():
            check_id("one of ids", one)
        if self.requeued:
            check_limit(self.requeued, MOST_REQUEUES, "requeued")
        if self.state is not None:
            member(DeadLetterState, "state", self.state)
        if self.fingerprint is not None and not re.fullmatch("[0-9a-f]{1,64}", self.fingerprint):
            raise ValueError(
                f"fingerprint is {shown(self.fingerprint)}; it is the beginning of one: 1 to 64 of "
                "the digits 0 to 9 and a to f."
            )


def letters(wanted: LetterFilter, using: str) -> QuerySet[DeadLetter]:
    """The rows, in no order. Open ones are found by their index, however many are closed."""
    equal: dict[str, Any] = {
        "error_class": wanted.error_class,
        "event_type": wanted.event_type,
        "aggregate_type": wanted.aggregate_type,
        "aggregate_id": wanted.aggregate_id,
        "destination": wanted.destination,
        "moved_at__gte": wanted.since,
        "moved_at__lt": wanted.before,
    }
    rows = DeadLetter.objects.using(using).filter(
        **{name: value for name, value in equal.items() if value is not None}
    )
    if wanted.ids is not None:
        rows = rows.filter(Q(pk__in=wanted.ids) | Q(original_event_id__in=wanted.ids))
    if wanted.fingerprint is not None:
        # Whatever the collation, "g" comes behind every digit.
        rows = rows.filter(
            fingerprint__gte=wanted.fingerprint, fingerprint__lt=f"{wanted.fingerprint}g"
        )
    if wanted.requeued:
        rows = rows.alias(times=requeues()).filter(times__gte=wanted.requeued)
    if wanted.state is DeadLetterState.OPEN:
        rows = rows.filter(resolved_at__isnull=True)
    elif wanted.state is not None:
        rows = with_state(rows).filter(resolved_at__isnull=False, state=wanted.state.value)
    return rows


def with_state(rows: QuerySet[DeadLetter]) -> QuerySet[Any]:
    """The rows with ``state``. What others closed, in SQL of their own, counts as resolved."""
    newest = _actions().order_by("-id").values("action")[:1]
    found: QuerySet[Any] = rows.alias(newest=Subquery(newest)).annotate(
        state=Case(
            When(resolved_at__isnull=True, then=Value(DeadLetterState.OPEN.value)),
            When(newest__in=[action.value for action in CLOSING], then=F("newest")),
            default=Value(DeadLetterState.RESOLVED.value),
            output_field=CharField(),
        )
    )
    return found


def requeues() -> Coalesce:
    """How often a dead letter's event was sent again."""
    each = _actions().filter(action=DeadLetterAction.REQUEUED.value).order_by()
    number = each.values("dead_letter").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(number, output_field=IntegerField()), Value(0))


def holds() -> Exists:
    """Whether an aggregate waits until somebody deals with the dead letter. By the index of the
    keys."""
    return Exists(
        TroubledKey.objects.filter(
            destination=OuterRef("destination"),
            aggregate_type=OuterRef("aggregate_type"),
            aggregate_id=OuterRef("aggregate_id"),
            event_id=OuterRef("original_event_id"),
            state=KeyState.PARKED.value,
        )
    )


def not_in_batch(batch_id: uuid.UUID) -> Q:
    """What this bulk action has not done yet."""
    return ~Q(Exists(_actions().filter(batch_id=batch_id)))


def _actions() -> QuerySet[DeadLetterActionRecord]:
    return DeadLetterActionRecord.objects.filter(dead_letter_id=OuterRef("pk"))
