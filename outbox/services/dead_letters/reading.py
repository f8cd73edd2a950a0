"""What is stuck, and why. Reads only; nothing that is returned has been redacted."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Q, QuerySet

from hodei.sql import statement
from hodei.values import check_limit, identifier
from outbox.models import DeadLetter, DeadLetterActionRecord, Event, TroubledKey
from outbox.services.dead_letters.filters import (
    LetterFilter,
    holds,
    letters,
    requeues,
    with_state,
)
from outbox.services.dead_letters.refusals import DeadLetterError, NoSuchDeadLetter
from outbox.states import DeadLetterAction, DeadLetterState

#: Dead letters of one page.
MOST_LISTED = 10_000
#: Counting what waits behind a dead letter stops here.
MOST_FOLLOWERS = 10_000
#: Open dead letters that are grouped: the newest.
MOST_GROUPED = 100_000
#: Groups of a kind that are told.
MOST_GROUPS = 20

_ID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{0,4}){0,3}-?[0-9a-f]{0,12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter without its content."""

    id: uuid.UUID
    event_id: uuid.UUID
    state: DeadLetterState
    event_type: str
    event_version: int
    aggregate_type: str
    aggregate_id: uuid.UUID
    #: The caller's own key, where it is not the UUID.
    aggregate_key: str | None
    destination: str
    #: Place in the aggregate; None where the original system has lost it.
    seq: int | None
    error_class: str | None
    error: str
    #: Attempts that were spent before it died.
    attempts: int
    fingerprint: str | None
    created_at: datetime
    #: The newest time.
    died_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None
    #: How often it was sent again.
    requeues: int
    #: Whether its aggregate waits until somebody deals with it.
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One death, or one thing that a person did."""

    action: DeadLetterAction
    actor: str
    at: datetime
    note: str | None
    batch_id: uuid.UUID | None
    details: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """A dead letter with everything that is known of it."""

    letter: Letter
    payload: Any
    metadata: Any
    idempotency_key: str | None
    #: Oldest first.
    actions: Sequence[Action]
    #: Of the event itself; None where its row is gone.
    event_status: str | None
    #: How many events wait behind it, counted up to MOST_FOLLOWERS.
    followers: int
    #: The event that its aggregate waits behind; its own one if it is that.
    waits_behind: uuid.UUID | None


class Cursor(NamedTuple):
    """Where a page ended."""

    died_at: datetime
    id: uuid.UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some dead letters, those that died last first."""

    letters: Sequence[Letter]
    #: For the next page; None after the last one.
    next: Cursor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Open dead letters that have something in common: their class, or their fingerprint."""

    key: str | None
    count: int
    #: When the first and the newest of them died.
    first_at: datetime
    last_at: datetime
    #: Of the newest one.
    letter_id: uuid.UUID
    error_class: str | None
    event_type: str
    destination: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterStats:
    """What is open. ``is_capped`` says that there are more than MOST_GROUPED, and that the counts
    are of the newest of them; the oldest is the oldest of all."""

    open: int
    is_capped: bool
    oldest_at: datetime | None
    #: Age of the oldest by the server's clock; None where nothing is open.
    oldest_seconds: float | None
    #: The largest groups first, at most MOST_GROUPS.
    by_class: Sequence[Failures]
    by_fingerprint: Sequence[Failures]


def list_letters(
    wanted: LetterFilter | None = None,
    *,
    limit: int = 50,
    after: Cursor | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Page:
    """Return one page, those that died last first; ``after`` is ``next`` of the page before. Raises
    ValueError for a limit outside 1 to MOST_LISTED, and for what can be no condition."""
    check_limit(limit, MOST_LISTED)
    rows = letters(wanted or LetterFilter(), using)
    if after is not None:
        rows = rows.filter(
            Q(moved_at__lt=after.died_at) | Q(moved_at=after.died_at, pk__lt=after.id),
            moved_at__lte=after.died_at,
        )
    # One more tells whether there is a next page.
    found = list(_shown(rows).order_by("-moved_at", "-pk")[: limit + 1])
    page = [_letter(row) for row in found[:limit]]
    is_last = len(found) <= limit or not page
    return Page(letters=page, next=None if is_last else Cursor(page[-1].died_at, page[-1].id))


def get(letter_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> Detail:
    """Everything that is known of one, by its own id or that of its event. Raises
    NoSuchDeadLetter."""
    if identifier(letter_id) is None:
        raise NoSuchDeadLetter(letter_id)
    row = _shown(letters(LetterFilter(state=None, ids=[letter_id]), using), whole=True).first()
    if row is None:
        raise NoSuchDeadLetter(letter_id)
    actions = DeadLetterActionRecord.objects.using(using).filter(dead_letter_id=row.pk)
    aggregate = {"aggregate_type": row.aggregate_type, "aggregate_id": row.aggregate_id}
    event = Event.objects.using(using).filter(pk=row.original_event_id)
    held = Event.objects.using(using).filter(
        **aggregate, destination=row.destination, held=True, status="PENDING"
    )
    key = TroubledKey.objects.using(using).filter(**aggregate, destination=row.destination)
    holds_others = row.holds  # type: ignore[attr-defined]
    return Detail(
        letter=_letter(row),
        payload=row.payload,
        metadata=row.metadata,
        idempotency_key=row.idempotency_key,
        actions=[
            Action(
                action=DeadLetterAction(one.action),
                actor=one.actor,
                at=one.occurred_at,
                note=one.note,
                batch_id=one.batch_id,
                details=one.details,
            )
            for one in actions.order_by("pk")
        ],
        event_status=event.values_list("status", flat=True).first(),
        followers=held.values("pk")[:MOST_FOLLOWERS].count() if holds_others else 0,
        waits_behind=key.values_list("event_id", flat=True).first(),
    )


def identify(words: Sequence[str], *, using: str = DEFAULT_DB_ALIAS) -> list[uuid.UUID]:
    """The ids of dead letters that somebody typed: whole, of the letter or of its event, or the
    first eight digits or more of the letter's.

    Raises NoSuchDeadLetter, and DeadLetterError for a beginning that several have.
    """
    return list(dict.fromkeys(_identified(word, using) for word in words))


def stats(*, using: str = DEFAULT_DB_ALIAS) -> DeadLetterStats:
    """Count what is open, by class and by fingerprint. Costs what is open, not what was closed."""
    asked: dict[str, Any] = {"grouped": MOST_GROUPED, "groups": MOST_GROUPS}
    with connections[using].cursor() as cursor:
        cursor.execute(statement("outbox", "count_letters"), asked)
        number, oldest_at, oldest_seconds = cursor.fetchone()
        cursor.execute(statement("outbox", "letters_by_class"), asked)
        by_class = [_failures(row) for row in cursor.fetchall()]
        cursor.execute(statement("outbox", "letters_by_fingerprint"), asked)
        by_fingerprint = [_failures(row) for row in cursor.fetchall()]
    return DeadLetterStats(
        open=min(number, MOST_GROUPED),
        is_capped=number > MOST_GROUPED,
        oldest_at=oldest_at,
        oldest_seconds=oldest_seconds,
        by_class=by_class,
        by_fingerprint=by_fingerprint,
    )


def _shown(rows: QuerySet[DeadLetter], *, whole: bool = False) -> QuerySet[DeadLetter]:
    found: QuerySet[DeadLetter] = with_state(rows).annotate(requeues=requeues(), holds=holds())
    return found if whole else found.defer("payload", "metadata")


def _letter(row: Any) -> Letter:
    return Letter(
        id=row.pk,
        event_id=row.original_event_id,
        state=DeadLetterState(row.state),
        event_type=row.event_type,
        event_version=row.event_version,
        aggregate_type=row.aggregate_type,
        aggregate_id=row.aggregate_id,
        aggregate_key=row.aggregate_key,
        destination=row.destination,
        seq=row.seq,
        error_class=row.error_class,
        error=row.error_message,
        attempts=row.retry_count,
        fingerprint=row.fingerprint,
        created_at=row.original_created_at,
        died_at=row.moved_at,
        resolved_at=row.resolved_at,
        resolved_by=row.resolved_by,
        note=row.resolution_notes,
        requeues=row.requeues,
        holds=row.holds,
    )


def _failures(row: Sequence[Any]) -> Failures:
    key, count, first_at, last_at, letter_id, error_class, event_type, destination, error = row
    return Failures(
        key=key,
        count=count,
        first_at=first_at,
        last_at=last_at,
        letter_id=letter_id,
        error_class=error_class,
        event_type=event_type,
        destination=destination,
        error=error,
    )


def _identified(word: object, using: str) -> uuid.UUID:
    if not isinstance(word, str):
        raise NoSuchDeadLetter(word)
    text = word.strip().lower()
    if not _ID.fullmatch(text):
        raise NoSuchDeadLetter(word)
    digits = text.replace("-", "")
    rows = DeadLetter.objects.using(using)
    if len(digits) == 32:
        wanted = uuid.UUID(digits)
        found = list(
            rows.filter(Q(pk=wanted) | Q(original_event_id=wanted)).values_list("pk", flat=True)
        )
    else:
        first, last = (uuid.UUID(digits.ljust(32, digit)) for digit in "0f")
        within = rows.filter(pk__gte=first, pk__lte=last).order_by("pk")
        found = list(within.values_list("pk", flat=True)[:4])
    if not found:
        raise NoSuchDeadLetter(word)
    if len(found) > 1:
        raise DeadLetterError(
            f"{word} may be any of {', '.join(map(str, found))}: give more of its digits."
        )
    return found[0]
