"""Reads the next events of some lanes, within a budget of rows and of bytes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from hodei.sql import statement
from outbox.events import Event

if TYPE_CHECKING:
    import psycopg

#: Rows of one batch, and bytes of payload and metadata, whichever is reached first.
MOST_EVENTS = 5_000
MOST_BYTES = 8 * 1024 * 1024
#: Rows of one lane: fair to others at first, more where only few lanes have any.
LEAST_PER_LANE, MOST_PER_LANE = 100, 2_000
#: Rows that the driver hands over at once, so that it never holds more of them than a batch may
#: have in bytes, at the largest payload by default.
ROWS_AT_ONCE = 32

_SEQ = attrgetter("seq")
_NO_METADATA: Mapping[str, Any] = {}


class Row(NamedTuple):
    """One row of the statement ``fetch``."""

    id: uuid.UUID
    seq: int
    event_type: str
    version: int
    aggregate_type: str
    aggregate_id: uuid.UUID
    subject: str
    data: str
    metadata: str | None
    idempotency_key: str | None
    created_at: datetime
    lane: int
    retry_count: int
    crashes: int
    key_id: int | None
    head_id: uuid.UUID | None


@dataclass(slots=True)
class Batch:
    """Events in the order of ``seq``, and what has to be known of them."""

    events: list[Event] = field(default_factory=list)
    #: Events of the batch that aggregates wait behind.
    heads: list[uuid.UUID] = field(default_factory=list)
    #: Ids of events that wait behind others, and the rows of ``outbox_keys`` these stand in.
    behind: list[uuid.UUID] = field(default_factory=list)
    keys: set[int] = field(default_factory=set)
    #: Of events that were with a process that died: how many did.
    crashes: dict[uuid.UUID, int] = field(default_factory=dict)
    #: How many rows each lane had.
    lanes: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.events)


class Fetch:
    """Reads batches for one relay; learns how much to take from a lane, and where to begin."""

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self._per_lane = LEAST_PER_LANE
        #: The lane that the last batch ended in, if it ended before all lanes had their share.
        self._last: int | None = None

    def __call__(
        self, session: psycopg.Connection[Any], lanes: Sequence[int], *, only_one: bool = False
    ) -> Batch:
        """Return what these lanes may send now. Writes nothing, and takes no lock."""
        batch = Batch()
        rows_read = size = 0
        last = None
        asked = {
            "destination": self._destination,
            "lanes": turned(lanes, self._last),
            "per_lane": 1 if only_one else self._per_lane,
            "most": MOST_EVENTS,
        }
        # A stream that is left open keeps the session from whatever comes next, for ever.
        with session.cursor() as cursor, closing(_stream(cursor, asked)) as rows:
            for row in map(Row._make, rows):
                _add(batch, row, self._destination)
                rows_read += 1
                size += len(row.data) + len(row.metadata or "")
                if rows_read >= MOST_EVENTS or size >= MOST_BYTES or (only_one and batch.events):
                    last = row.lane
                # To stop before the end costs the server a cancellation: only where it must be.
                if size >= MOST_BYTES or (only_one and batch.events):
                    break
        # Whatever a lane has was read in its order; a publisher gets all of them in one.
        batch.events.sort(key=_SEQ)
        # One event alone is another lane's each time: that one is never answered may be its fault.
        self._last = last
        if not only_one:
            self._learn(batch)
        return batch

    def _learn(self, batch: Batch) -> None:
        full = sum(1 for number in batch.lanes.values() if number >= self._per_lane)
        if full and sum(batch.lanes.values()) < MOST_EVENTS / 2:
            self._per_lane = min(self._per_lane * 2, MOST_PER_LANE)
        elif not full:
            self._per_lane = max(self._per_lane // 2, LEAST_PER_LANE)


def _stream(cursor: psycopg.Cursor[Any], asked: Mapping[str, Any]) -> Generator[Any, None, None]:
    yield from cursor.stream(statement("outbox", "fetch"), asked, binary=True, size=_ROWS_AT_ONCE)


def turned(lanes: Sequence[int], last: int | None) -> list[int]:
    """Pure: the lanes, beginning after ``last``, so that those at the end have their turn too."""
    if last is None:
        return list(lanes)
    return [lane for lane in lanes if lane > last] + [lane for lane in lanes if lane <= last]


def _add(batch: Batch, row: Row, destination: str) -> None:
    batch.lanes[row.lane] = batch.lanes.get(row.lane, 0) + 1
    if row.key_id is not None:
        if row.head_id != row.id:
            batch.behind.append(row.id)
            batch.keys.add(row.key_id)
            return
        batch.heads.append(row.id)
    if row.crashes:
        batch.crashes[row.id] = row.crashes
    batch.events.append(
        Event(
            id=row.id,
            seq=row.seq,
            event_type=row.event_type,
            version=row.version,
            aggregate_type=row.aggregate_type,
            aggregate_id=row.aggregate_id,
            subject=row.subject,
            data=row.data,
            metadata=_NO_METADATA if row.metadata is None else _object(row.metadata),
            idempotency_key=row.idempotency_key,
            created_at=row.created_at,
            destination=destination,
            attempt=row.retry_count + 1,
        )
    )


def _object(text: str) -> Mapping[str, Any]:
    # The column may hold any JSON: the original system writes it, too.
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        # A number of too many digits, or nested without end: nothing for Python.
        return {"value": text}
    return found if isinstance(found, dict) else {"value": found}


def _rows_at_once() -> int:
    try:
        from psycopg import capabilities  # noqa: PLC0415

        return ROWS_AT_ONCE if capabilities.has_stream_chunked() else 1
    except (ImportError, AttributeError):
        return 1


_ROWS_AT_ONCE = _rows_at_once()
