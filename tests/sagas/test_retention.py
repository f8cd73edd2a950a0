"""What retention deletes of sagas, batch after batch, and what it lets stand."""

from __future__ import annotations

from datetime import timedelta

from sagas.services.retention import Keep, preview, prune
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


def test_those_that_the_original_ended_without_a_time_are_pruned(sagas: Sagas) -> None:
    """It saved an ended saga without the time of its end: how old it is, its last change says."""
    sagas.execute(
        "INSERT INTO sagas (saga_type, state, started_at, updated_at) "
        "SELECT 'EXECUTION', state, now() - interval '90 days', now() - days * interval '1 day' "
        "FROM unnest(ARRAY['COMPLETED', 'CANCELLED', 'FAILED']) AS s (state), "
        "unnest(ARRAY[1, 60]) AS d (days)"
    )
    keep = Keep(failed=timedelta(days=30))

    assert [one.rows for one in preview(keep)] == [2, 1, 0]
    assert [one.rows for one in prune(keep)] == [2, 1, 0]
    assert sagas.value("SELECT count(*) FROM sagas WHERE updated_at > now() - interval '2 d'") == 3


def test_times_that_no_clock_can_show_keep_nothing_from_being_pruned(sagas: Sagas) -> None:
    for instant in ("-infinity", "0100-01-01 BC", "2001-01-01"):
        fill(sagas, "COMPLETED", 1, "COMPLETED")
        sagas.execute("UPDATE sagas SET started_at = %s WHERE started_at > '2020-01-01'", [instant])
        sagas.execute(
            "INSERT INTO saga_audit_events (id, saga_id, event_type, occurred_at) "
            "VALUES (gen_random_uuid(), gen_random_uuid(), 'X', %s)",
            [instant],
        )

    deleted = {one.what: one.rows for one in prune(batch=1)}

    assert deleted == {**deleted, "sagas": 3, "audit events": 3}
