"""Writes down what was decided about sagas that are still ours: one statement for all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from hodei.sql import statement
from sagas import points
from sagas.held import Held, as_parameters
from sagas.leases import Leases


def record(session: Any, leases: Leases, sagas: Sequence[Held]) -> list[Held]:
    """Store the changes of these sagas, those that are ours; returns those that are not, which are
    marked as lost. Its own transaction, or the one that ``session`` is in."""
    if not sagas:
        return []
    asked = time.monotonic()
    points.reach("before write")
    rows = session.execute(
        statement("sagas", "record"),
        {**as_parameters(sagas), "owner": leases.owner, "seconds": leases.seconds},
    ).fetchall()
    points.reach("after write")
    written = {row[0]: row for row in rows}
    lost = []
    for held in sagas:
        row = written.get(held.saga.id)
        if row is None:
            held.lost = True
            lost.append(held)
            continue
        held.forget_changes()
        held.valid_until = asked + leases.seconds
        held.asked(row[1], row[2], row[3])
        leases.clock.read(row[4])
    return lost
