from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sagas.definition import (
    Later,
    Saga,
    Step,
    StepContext,
)
from sagas.states import SagaOutcome
from sagas.testing import seen
from tests.databases import HERE
from tests.sagas.conftest import Sagas
from tests.sagas.world import local, remote, undo_local, undo_remote

WHY: dict[str, Any] = {"reason": "a test", "actor": "test"}


def outcome(saga: uuid.UUID) -> SagaOutcome | None:
    return seen(saga).outcome


class Plain(Saga):
    kind = "PLAIN"
    steps = (Step("a", local, undo_local, local=True), Step("b", remote, undo_remote))


def wait_for_ever(_context: StepContext) -> None:
    raise Later(3_600)


gate = threading.Event()


@contextmanager
def a_gate() -> Iterator[threading.Event]:
    """Steps that wait for it come back at the end of the block at the latest."""
    gate.clear()
    try:
        yield gate
    finally:
        gate.set()


def is_asleep(sagas: Sagas) -> bool:
    return bool(
        sagas.value(
            f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {HERE} "
            "AND classid = %s AND mode = 'ExclusiveLock'",
            [0x73616701],
        )
    )
