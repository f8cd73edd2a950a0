"""Pure: what an event is about, as the tables hold it.

An aggregate is known by a UUID. One that has a number or a text for a key gets the UUID of that
key, always the same, and the key itself is kept beside it.
"""

from __future__ import annotations

import uuid
from typing import NamedTuple

from hodei.values import shown, unstorable

LANES = 64
LONGEST_KEY = 500

#: The name space of the UUIDs that are made of keys. It is part of the data: never change it.
NAMESPACE = uuid.UUID("5d1f3c0e-5f0b-5a55-9f5e-6a1d2c8b7e90")


class Aggregate(NamedTuple):
    """One aggregate. ``key`` is None where the caller's own key is a UUID already."""

    type: str
    id: uuid.UUID
    key: str | None

    @property
    def lane(self) -> int:
        """0 to 63: as the column ``lane`` is generated."""
        return lane_of(self.id)


def lane_of(aggregate_id: uuid.UUID) -> int:
    """The share of events that a relay leases, by the last byte: random in every version of UUID
    that is in use."""
    return aggregate_id.int & (LANES - 1)


def aggregate_of(aggregate_type: str, key: uuid.UUID | int | str) -> Aggregate:
    """The aggregate of a caller's key. Raises TypeError or ValueError.

    A text that is written as a UUID is that UUID. The number 7 and the text "7" are one key.
    """
    if isinstance(key, uuid.UUID):
        return Aggregate(aggregate_type, key, None)
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise TypeError(
            f"aggregate_id is {shown(key)}, a {type(key).__name__}; it is a UUID, an int or a str."
        )
    if isinstance(key, int) and abs(key) >= 10**LONGEST_KEY:
        raise ValueError(f"aggregate_id is a number of more than {LONGEST_KEY} digits.")
    text = str(key)
    wrong = unstorable(text)
    if wrong is not None:
        raise ValueError(f"aggregate_id {wrong}.")
    if not text or len(text) > LONGEST_KEY:
        raise ValueError(
            f"aggregate_id has {len(text)} characters; it has 1 to {LONGEST_KEY} of them."
        )
    if isinstance(key, str) and len(key) == 36:
        try:
            return Aggregate(aggregate_type, uuid.UUID(key), None)
        except ValueError:
            pass
    return Aggregate(aggregate_type, uuid.uuid5(NAMESPACE, f"{aggregate_type}:{text}"), text)
