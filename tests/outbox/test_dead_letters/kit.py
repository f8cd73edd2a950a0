from __future__ import annotations

import uuid
from typing import Any

from outbox.services import dead_letters
from outbox.states import DeadLetterState
from tests.outbox.conftest import Outbox

BY = {"by": "anna", "note": "the hook has moved"}


def actions(outbox: Outbox, letter: uuid.UUID) -> list[tuple[Any, ...]]:
    return outbox.rows(
        "SELECT action, actor, note FROM outbox_dlq_actions WHERE dlq_id = %s ORDER BY id", [letter]
    )


def state(letter: uuid.UUID) -> DeadLetterState:
    return dead_letters.get(letter).letter.state


def waiting(outbox: Outbox) -> int:
    """How many sessions of this database wait for a lock."""
    # Inside of a transaction the server would go on telling what it saw first.
    outbox.execute("SELECT pg_stat_clear_snapshot()")
    found: int = outbox.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock'"
    )
    return found
