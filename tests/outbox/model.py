"""What an outbox is, said plainly and without a database: for comparison with the real one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from outbox.services.dead_letters import (
    AlreadyDealtWith,
    DeadLetterError,
    IdempotencyKeyTaken,
    NotClosed,
)
from outbox.states import DeadLetterState

#: Attempts before an event that is rejected dies.
ATTEMPTS = 3


class Where(StrEnum):
    """The one place in which an event is; the first three are the statuses of its row."""

    WAITING = "PENDING"
    DELIVERED = "PUBLISHED"
    DEAD = "FAILED"
    #: Its dead letter alone is left of it.
    GONE = "GONE"
    PRUNED = "PRUNED"

    @property
    def has_row(self) -> bool:
        return self in {Where.WAITING, Where.DELIVERED, Where.DEAD}


class Fate(StrEnum):
    """What a destination does with an event."""

    TAKE = "TAKE"
    REJECT = "REJECT"
    REFUSE = "REFUSE"
    DOWN = "DOWN"


@dataclass(slots=True)
class Item:
    """An event. A changed copy has the number of its original."""

    number: int
    aggregate: uuid.UUID
    place: int
    key: str | None = None
    where: Where = Where.WAITING
    attempts: int = 0


@dataclass(slots=True)
class Block:
    """What an aggregate waits behind. ``is_due``: it may be sent."""

    head: uuid.UUID
    is_due: bool = False
    is_parked: bool = False


@dataclass(slots=True)
class Model:
    """Events by their ids, dead letters by those of their events, blocks by aggregates."""

    items: dict[uuid.UUID, Item] = field(default_factory=dict)
    letters: dict[uuid.UUID, DeadLetterState] = field(default_factory=dict)
    blocks: dict[uuid.UUID, Block] = field(default_factory=dict)
    places: int = 0

    def known(self, keys: Sequence[str | None]) -> list[str]:
        """Those that are there already, or come twice in these."""
        there = {item.key for item in self.items.values() if item.where.has_row}
        given = [key for key in keys if key is not None]
        twice = [key for place, key in enumerate(given) if key in given[:place]]
        return list(dict.fromkeys(twice)) or [key for key in given if key in there]

    def publish(self, event: uuid.UUID, aggregate: uuid.UUID, number: int, key: str | None) -> None:
        self.places += 1
        self.items[event] = Item(number, aggregate, self.places, key)

    def deliver(self, fate: Callable[[int], Fate]) -> dict[uuid.UUID, list[uuid.UUID]]:
        """What one relay takes to its destination until nothing more moves, by aggregate."""
        taken: dict[uuid.UUID, list[uuid.UUID]] = {}
        while True:
            fates = {
                one
                for aggregate in {item.aggregate for item in self.items.values()}
                for one in self._round(aggregate, fate, taken.setdefault(aggregate, []))
            }
            if Fate.DOWN in fates or not fates:
                return {aggregate: events for aggregate, events in taken.items() if events}

    def retry_times_come(self) -> None:
        for block in self.blocks.values():
            block.is_due = not block.is_parked

    def lose_dead_rows(self) -> None:
        for item in self.items.values():
            if item.where is Where.DEAD:
                item.where = Where.GONE

    def refusal(self, event: uuid.UUID, action: str) -> type[DeadLetterError] | None:
        """Why somebody cannot do this with a dead letter."""
        state, item = self.letters[event], self.items[event]
        if action == "restore":
            if state is DeadLetterState.OPEN:
                return NotClosed
            restorable = {DeadLetterState.RESOLVED, DeadLetterState.DISCARDED}
            return None if state in restorable else AlreadyDealtWith
        if state is not DeadLetterState.OPEN:
            return AlreadyDealtWith
        is_lost = action == "requeue" and item.where is Where.GONE
        return IdempotencyKeyTaken if is_lost and self.known([item.key]) else None

    def act(self, event: uuid.UUID, action: str, copy: uuid.UUID | None = None) -> None:
        """``copy`` is what ``resend`` has published."""
        item, block = self.items[event], self.blocks.get(self.items[event].aggregate)
        is_head = block is not None and block.head == event
        self.letters[event] = {
            "requeue": DeadLetterState.REQUEUED,
            "resolve": DeadLetterState.RESOLVED,
            "discard": DeadLetterState.DISCARDED,
            "restore": DeadLetterState.OPEN,
            "resend": DeadLetterState.RESENT,
        }[action]
        if action == "requeue":
            item.where, item.attempts = Where.WAITING, 0
        if action in {"resolve", "discard"} and is_head:
            del self.blocks[item.aggregate]
        if copy is not None:
            self.publish(copy, item.aggregate, item.number, None)
            if is_head:
                self.items[copy].place = item.place
        if action in {"requeue", "resend"} and is_head:
            self.blocks[item.aggregate] = Block(copy or event, is_due=True)

    def prune(self) -> None:
        """Retention, after whose time everything is."""
        heads = {block.head for block in self.blocks.values()}
        for event, item in self.items.items():
            if item.where is Where.DELIVERED:
                item.where = Where.PRUNED
            is_closed = self.letters.get(event, DeadLetterState.OPEN) is not DeadLetterState.OPEN
            if is_closed and event not in heads and item.where is not Where.WAITING:
                del self.letters[event]
                item.where = Where.PRUNED

    def _round(
        self, aggregate: uuid.UUID, fate: Callable[[int], Fate], taken: list[uuid.UUID]
    ) -> list[Fate]:
        """Send what may be sent now; returns what became of it."""
        block = self.blocks.get(aggregate)
        fates = []
        for event in self._sendable(aggregate, block):
            item = self.items[event]
            fates.append(fate(item.number))
            if fates[-1] is Fate.DOWN:
                break
            if fates[-1] is not Fate.TAKE:
                self._fail(event, item, is_final=fates[-1] is Fate.REFUSE)
                break
            item.where = Where.DELIVERED
            taken.append(event)
            if block is not None:
                del self.blocks[aggregate]
        return fates

    def _sendable(self, aggregate: uuid.UUID, block: Block | None) -> list[uuid.UUID]:
        if block is not None:
            return [block.head] if block.is_due else []
        waiting = [
            (item.place, event)
            for event, item in self.items.items()
            if item.aggregate == aggregate and item.where is Where.WAITING
        ]
        return [event for _, event in sorted(waiting)]

    def _fail(self, event: uuid.UUID, item: Item, *, is_final: bool) -> None:
        item.attempts += 1
        is_dead = is_final or item.attempts >= ATTEMPTS
        self.blocks[item.aggregate] = Block(event, is_parked=is_dead)
        if is_dead:
            item.where = Where.DEAD
            self.letters[event] = DeadLetterState.OPEN
