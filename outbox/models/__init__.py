"""The tables of the outbox: events, dead letters, and what relays and consumers keep.

Rows are written by services; nothing here decides anything.

Modules: ``event``, ``dead_letter`` (also what was done with them), ``relay`` (also its lanes),
``key`` and ``inbox``.
"""

from __future__ import annotations

from outbox.models.dead_letter import DeadLetter, DeadLetterActionRecord
from outbox.models.event import Event
from outbox.models.inbox import InboxEntry
from outbox.models.key import TroubledKey
from outbox.models.relay import Lane, Relay

__all__ = [
    "DeadLetter",
    "DeadLetterActionRecord",
    "Event",
    "InboxEntry",
    "Lane",
    "Relay",
    "TroubledKey",
]
