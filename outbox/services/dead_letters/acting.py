"""What one person does with dead letters: once, on record, and with what waits behind them.

Locks are taken in the relay's order: letters, their events, keys, and what waits behind those. Of a
letter that is closed no event is locked: it may be on its way again, and a relay has many of them,
in an order of its own. See Note [Letting go] in ``outbox.held``.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction

from hodei.sql import statement
from hodei.values import identifier, shown, unstorable
from outbox.held import let_go
from outbox.keys import lane_of
from outbox.services.dead_letters.filters import CLOSING
from outbox.services.dead_letters.refusals import (
    AlreadyDealtWith,
    AlreadyPublished,
    DeadLetterError,
    IdempotencyKeyTaken,
    NoSuchDeadLetter,
    NotClosed,
)
from outbox.states import DeadLetterAction, DeadLetterState
from outbox.wakeup import WAKE

LONGEST_ACTOR = 100
LONGEST_NOTE = 2_000

#: States from which a dead letter can be opened again.
RESTORABLE = frozenset({DeadLetterState.DISCARDED, DeadLetterState.RESOLVED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What is done, by whom, and why. Raises ValueError for what cannot be put on record."""

    action: DeadLetterAction
    by: str
    note: str
    #: Common to what one bulk action does.
    batch_id: uuid.UUID | None = None

    def __post_init__(self) -> None:
        if self.action not in {*CLOSING, DeadLetterAction.RESTORED}:
            raise ValueError(f"{self.action} is nothing that a person does.")
        _check("by", self.by, LONGEST_ACTOR)
        _check("the reason", self.note, LONGEST_NOTE)


class Done(NamedTuple):
    """An action that was taken."""

    letter_id: uuid.UUID
    event_id: uuid.UUID
    #: Of a requeued event: the other one that its aggregate waits behind, which goes first.
    waits_behind: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A dead letter that nobody else can touch until the transaction ends."""

    id: uuid.UUID
    event_id: uuid.UUID
    aggregate_type: str
    aggregate_id: uuid.UUID
    aggregate_key: str | None
    destination: str
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None
    newest: DeadLetterAction | None

    @property
    def state(self) -> DeadLetterState:
        if self.resolved_at is None:
            return DeadLetterState.OPEN
        if self.newest in CLOSING:
            return DeadLetterState(self.newest.value)
        return DeadLetterState.RESOLVED


def requeue(letter_id: uuid.UUID, *, by: str, note: str, using: str = DEFAULT_DB_ALIAS) -> Done:
    """Send the event on its way again: the same id, in its old place, with all its attempts.

    It goes first, and what waits behind it follows in order. Where its row is gone it is made again
    from the dead letter. ``letter_id`` may also be the event's. All or nothing: joins the caller's
    transaction, or owns one. Raises a DeadLetterError, and ValueError for ``by`` and ``note``.
    """
    return _one(letter_id, Deed(action=DeadLetterAction.REQUEUED, by=by, note=note), using)


def resolve(letter_id: uuid.UUID, *, by: str, note: str, using: str = DEFAULT_DB_ALIAS) -> Done:
    """Say that what the event tells of was brought about by other means. It is not sent, and what
    waits behind it goes on. As ``requeue`` in everything else."""
    return _one(letter_id, Deed(action=DeadLetterAction.RESOLVED, by=by, note=note), using)


def discard(letter_id: uuid.UUID, *, by: str, note: str, using: str = DEFAULT_DB_ALIAS) -> Done:
    """Say that nobody needs the event any more. It is not sent, and what waits behind it goes on.
    As ``requeue`` in everything else."""
    return _one(letter_id, Deed(action=DeadLetterAction.DISCARDED, by=by, note=note), using)


def restore(letter_id: uuid.UUID, *, by: str, note: str, using: str = DEFAULT_DB_ALIAS) -> Done:
    """Open a dead letter again that was discarded or resolved. What waited behind it has gone on,
    and is not called back. As ``requeue`` in everything else."""
    return _one(letter_id, Deed(action=DeadLetterAction.RESTORED, by=by, note=note), using)


def act(
    letter_ids: Sequence[uuid.UUID], deed: Deed, using: str
) -> tuple[list[Done], list[DeadLetterError]]:
    """Do it with each of these for which it can be done; returns what was done, and why not. What
    is the id of nothing is left out.

    One transaction for all, or the caller's. The ids are of letters or of their events. A copy is
    resent by ``edit_and_resend`` alone: ValueError.
    """
    if deed.action is DeadLetterAction.RESENT:
        raise ValueError("RESENT needs a copy for each dead letter: see edit_and_resend.")
    known = [found for one in letter_ids if (found := identifier(one)) is not None]
    try:
        return _act(known, deed, using)
    except IntegrityError:
        # Somebody has just published under an idempotency key of theirs: now it can be seen.
        return _act(known, deed, using)


def lock(cursor: Any, letter_ids: Sequence[uuid.UUID]) -> list[Locked]:
    """Lock these dead letters until the transaction ends."""
    cursor.execute(statement("outbox", "lock_letters"), {"ids": list(letter_ids)})
    rows = cursor.fetchall()
    # What was waited for may have been an action: a later statement sees it.
    cursor.execute(statement("outbox", "newest_actions"), {"ids": [row[0] for row in rows]})
    newest = {found: DeadLetterAction(action) for found, action in cursor.fetchall()}
    names = (
        *("id", "event_id", "aggregate_type", "aggregate_id", "aggregate_key", "destination"),
        *("resolved_at", "resolved_by", "note"),
    )
    return [Locked(**dict(zip(names, row, strict=True)), newest=newest.get(row[0])) for row in rows]


def is_possible(state: DeadLetterState, action: DeadLetterAction) -> bool:
    """Pure: whether this can be done with a dead letter of this state."""
    if action is DeadLetterAction.RESTORED:
        return state in RESTORABLE
    return state is DeadLetterState.OPEN


def refusal(letter: Locked, action: DeadLetterAction) -> DeadLetterError | None:
    """Pure: why this cannot be done with it, or None."""
    state = letter.state
    if action is DeadLetterAction.RESTORED and state is DeadLetterState.OPEN:
        return NotClosed(letter.id)
    if is_possible(state, action) or letter.resolved_at is None:
        return None
    return AlreadyDealtWith(
        letter.id, state, letter.resolved_by or "unknown", letter.resolved_at, letter.note
    )


def close(cursor: Any, ids: Sequence[uuid.UUID], deed: Deed, details: str | None = None) -> None:
    """Put it on record that these were dealt with."""
    cursor.execute(
        statement("outbox", "close_letters"), {"ids": list(ids), **_told(deed), "details": details}
    )


def _one(letter_id: uuid.UUID, deed: Deed, using: str) -> Done:
    done, refused = act([letter_id], deed, using)
    if refused:
        raise refused[0]
    if not done:
        raise NoSuchDeadLetter(letter_id)
    return done[0]


def _act(
    letter_ids: Sequence[uuid.UUID], deed: Deed, using: str
) -> tuple[list[Done], list[DeadLetterError]]:
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        locked = lock(cursor, letter_ids)
        refused = [why for letter in locked if (why := refusal(letter, deed.action))]
        wanted = [letter for letter in locked if refusal(letter, deed.action) is None]
        if deed.action is DeadLetterAction.REQUEUED and wanted:
            obstacles = _obstacles(cursor, wanted)
            refused += obstacles.values()
            wanted = [letter for letter in wanted if letter.id not in obstacles]
        if not wanted:
            return [], refused
        if deed.action is DeadLetterAction.RESTORED:
            ids = [letter.id for letter in wanted]
            cursor.execute(statement("outbox", "restore_letters"), {"ids": ids, **_told(deed)})
            return [Done(letter.id, letter.event_id) for letter in wanted], refused
        close(cursor, [letter.id for letter in wanted], deed)
        if deed.action is DeadLetterAction.REQUEUED:
            done = _send_again(cursor, wanted)
        else:
            done = _let_go(cursor, wanted)
        lanes = sorted({lane_of(letter.aggregate_id) for letter in wanted})
        cursor.execute(statement("outbox", "wake"), {"lanes": lanes, **WAKE})
        return done, refused


def _obstacles(cursor: Any, wanted: Sequence[Locked]) -> dict[uuid.UUID, DeadLetterError]:
    """Of those that cannot be sent again: why. Locks the events."""
    ids = {"ids": [letter.id for letter in wanted]}
    cursor.execute(statement("outbox", "lock_events_of_letters"), ids)
    cursor.execute(statement("outbox", "requeue_obstacles"), ids)
    found: dict[uuid.UUID, DeadLetterError] = {}
    for letter_id, event_id, is_published, published_at, key, other in cursor.fetchall():
        found[letter_id] = (
            AlreadyPublished(letter_id, event_id, published_at)
            if is_published
            else IdempotencyKeyTaken(letter_id, key, other)
        )
    return found


def _send_again(cursor: Any, wanted: Sequence[Locked]) -> list[Done]:
    ids = {"ids": [letter.id for letter in wanted]}
    cursor.execute(statement("outbox", "requeue_keys"), ids)
    cursor.execute(statement("outbox", "requeue_events"), ids)
    cursor.execute(statement("outbox", "other_heads"), ids)
    heads = dict(cursor.fetchall())
    return [Done(letter.id, letter.event_id, heads.get(letter.id)) for letter in wanted]


def _let_go(cursor: Any, wanted: Sequence[Locked]) -> list[Done]:
    by_destination: defaultdict[str, list[uuid.UUID]] = defaultdict(list)
    for letter in wanted:
        by_destination[letter.destination].append(letter.event_id)
    for destination, events in sorted(by_destination.items()):
        let_go(cursor, destination, events)
    return [Done(letter.id, letter.event_id) for letter in wanted]


def _told(deed: Deed) -> dict[str, Any]:
    return {
        "action": deed.action.value,
        "by": deed.by,
        "note": deed.note,
        "batch_id": deed.batch_id,
    }


def _check(what: str, text: object, longest: int) -> None:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{what} is {shown(text)}; it is a text of 1 to {longest} characters.")
    if len(text) > longest:
        raise ValueError(
            f"{what} has {len(text)} characters ({shown(text[:60])}...); at most {longest} are "
            "allowed."
        )
    if unstorable(text) is not None:
        raise ValueError(f"{what} holds a character that PostgreSQL cannot store: {shown(text)}.")
