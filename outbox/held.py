"""Lets the aggregates go that wait behind an event: for relays, and for people.

See Note [Letting go].
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from hodei.sql import statement

# Note [Letting go]
# A relay that meets an event of a troubled aggregate puts it aside, while it holds the row of
# outbox_keys. So whoever lets an aggregate go deletes or changes that row first, and lets the
# events go by later statements, which see what relays have put aside until then. What relays read
# is committed at once: the followers of an aggregate are free together, and are sent in order.

#: Events that one statement lets go.
MOST_LET_GO = 50_000


def let_go(session: Any, destination: str, heads: Sequence[uuid.UUID]) -> None:
    """Let the aggregates go that wait behind these events. Joins the caller's transaction.

    ``session`` is anything with ``execute``: a connection of psycopg or a cursor of Django's.
    """
    rows = _rows(session, "drop_keys", {"destination": destination, "ids": list(heads)})
    if not rows:
        return
    asked = {
        "destination": destination,
        "types": [row[0] for row in rows],
        "aggregates": [row[1] for row in rows],
        "most": MOST_LET_GO,
    }
    while True:
        result = session.execute(statement("outbox", "let_go"), asked) or session
        if result.rowcount < MOST_LET_GO:
            return


def _rows(session: Any, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    # A cursor of Django's returns nothing from execute, and is its own result.
    result = session.execute(statement("outbox", name), parameters) or session
    found: list[tuple[Any, ...]] = result.fetchall()
    return found
