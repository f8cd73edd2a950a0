"""What retention deletes of sagas, batch after batch, and what it lets stand."""

from __future__ import annotations

from sagas.services.retention import prune
from tests.sagas.conftest import Sagas
from tests.sagas.history import AUDIT, fill

ENDED, LIVE, BATCH = 1_000, 300, 70


def filled(sagas: Sagas) -> None:
    fill(sagas, "COMPLETED", ENDED, "COMPLETED")
    fill(sagas, "CANCELLED", ENDED // 10, "CANCELLED")
    for state in ("PENDING", "IN_PROGRESS", "COMPENSATING"):
        fill(sagas, state, LIVE)


def test_it_goes_on_where_its_last_batch_ended(sagas: Sagas) -> None:
    filled(sagas)
    sagas.execute(AUDIT, [ENDED])

    deleted = {one.what: one.rows for one in prune(batch=BATCH)}

    assert deleted["sagas"] == ENDED + ENDED // 10
    assert sagas.value("SELECT count(*) FROM sagas WHERE outcome IS NULL") == 3 * LIVE
    assert sagas.value("SELECT count(*) FROM sagas WHERE outcome IS NOT NULL") == 0
    orphans = "SELECT count(*) FROM saga_audit_events WHERE saga_id NOT IN (SELECT id FROM sagas)"
    assert sagas.value(orphans) == 0
    assert deleted["audit events"] >= ENDED // 2


def test_many_of_the_same_moment_are_pruned(sagas: Sagas) -> None:
    filled(sagas)
    sagas.execute("UPDATE sagas SET started_at = 'epoch', completed_at = 'epoch'")

    assert next(prune(batch=BATCH)).rows == ENDED + ENDED // 10
