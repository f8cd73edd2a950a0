"""By which index the statements that run all the time find their rows, and how much they read: on
tables with a history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from hodei.sessions import connect
from hodei.sql import statement
from sagas import registry
from sagas.definition import Saga, Step, StepContext, steps_hash
from sagas.leases import NO_LIMIT, Leases
from sagas.services.retention import prune
from tests.sagas.conftest import Sagas

HISTORY, LIVE = 20_000, 5_000


def nothing(_context: StepContext) -> None: ...


class Plain(Saga):
    kind = "PLAIN"
    steps = (Step("a", nothing, local=True), Step("b", nothing))


FILL = """
    INSERT INTO sagas (saga_type, state, outcome, definition_version, steps_hash, due_at, metadata,
                       completed_at)
    SELECT CASE WHEN n %% 10 = 0 THEN 'OTHER' ELSE 'PLAIN' END, %(state)s, %(outcome)s, 1,
           %(hash)s, CASE WHEN %(outcome)s::text IS NULL
                          THEN clock_timestamp() + (n - 2500) * interval '1 second' END,
           '{}', CASE WHEN %(outcome)s::text IS NOT NULL THEN now() END
      FROM generate_series(1, %(number)s) AS s (n)"""


def fill(sagas: Sagas, state: str, number: int, outcome: str | None = None) -> None:
    sagas.execute(
        FILL,
        {"state": state, "outcome": outcome, "number": number, "hash": steps_hash(Plain)},
    )


@pytest.fixture
def used(sagas: Sagas) -> Sagas:
    registry.register(Plain)
    fill(sagas, "COMPLETED", HISTORY, "COMPLETED")
    fill(sagas, "CANCELLED", HISTORY // 10, "CANCELLED")
    for state in ("PENDING", "IN_PROGRESS", "COMPENSATING"):
        fill(sagas, state, LIVE)
    sagas.execute(
        "INSERT INTO saga_steps (saga_id, step_name, step_order, state) "
        "SELECT id, name, place, 'PENDING' "
        "FROM sagas, (VALUES ('a', 0), ('b', 1)) AS s (name, place)"
    )
    sagas.execute("ANALYZE sagas, saga_steps, saga_step_attempts, saga_audit_events, saga_locks")
    return sagas


@pytest.fixture
def session(sagas: Sagas) -> Iterator[psycopg.Connection[Any]]:
    with connect("default", "test of plans") as found:
        yield found


def explain(session: Any, name: str, parameters: Any, options: str = "") -> dict[str, Any]:
    row = session.execute(
        f"EXPLAIN ({options}FORMAT JSON) {statement('sagas', name)}", parameters
    ).fetchone()
    found: dict[str, Any] = row[0][0]
    return found["Plan"]  # type: ignore[no-any-return]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def indexes(plan: dict[str, Any], table: str) -> set[str]:
    """By which indexes its rows are found; "none" stands for all of them being read."""
    found = set()
    for node in nodes(plan):
        if node["Node Type"] == "Bitmap Index Scan" and node["Index Name"].startswith(table):
            found.add(node["Index Name"])
        if node.get("Relation Name") != table or node["Node Type"] == "ModifyTable":
            continue
        if node["Node Type"] == "Seq Scan":
            found.add("none")
        elif "Index Name" in node:
            found.add(node["Index Name"])
    return found


KINDS: dict[str, Any] = {"kinds": ["PLAIN"], "versions": [1]}
CLAIM: dict[str, Any] = {
    **KINDS,
    "hashes": [steps_hash(Plain)],
    "rooms": [NO_LIMIT],
    "number": 100,
    "suspects": 1,
    "owner": "me",
    "seconds": 30.0,
}


def test_each_statement_finds_its_rows_by_an_index(used: Sagas, session: Any) -> None:
    statements: dict[str, dict[str, Any]] = {"claim": CLAIM, "next_due": KINDS, "has_due": KINDS}
    for name, parameters in statements.items():
        found = indexes(explain(session, name, parameters), "sagas")
        assert "sagas_live_idx" in found, name
        assert found <= {"sagas_live_idx", "sagas_suspect_idx", "sagas_pkey"}, name
        assert ("sagas_suspect_idx" in found) is (name == "claim")

    plan = explain(session, "live_by_key", {"kind": "PLAIN", "key": "a"})
    assert indexes(plan, "sagas") == {"sagas_one_live_per_key"}

    held = Leases("me", [Plain]).claim(session, 100)
    ids: dict[str, Any] = {
        "ids": [one.saga.id for one in held],
        "epochs": [one.saga.epoch for one in held],
    }
    assert len(held) == 100
    assert indexes(explain(session, "renew", {**ids, "seconds": 30.0}), "sagas") == {"sagas_pkey"}
    assert indexes(explain(session, "release", ids), "sagas") == {"sagas_pkey"}
    # Both begin with the saga.
    found = indexes(explain(session, "steps", ids), "saga_steps")
    assert found
    assert found <= {"saga_steps_order_key", "saga_steps_name_key"}
    empty = dict.fromkeys(("sagas", "steps", "attempts", "events"), "[]")
    plan = explain(session, "record", {**empty, "owner": "me", "seconds": 30.0})
    assert indexes(plan, "sagas") == {"sagas_pkey"}
    assert indexes(plan, "saga_steps") == {"saga_steps_pkey"}


def test_what_is_done_now_and_then_finds_its_rows_by_an_index(used: Sagas, session: Any) -> None:
    held = Leases("me", [Plain]).claim(session, 100)
    ids: dict[str, Any] = {
        "ids": [one.saga.id for one in held],
        "epochs": [one.saga.epoch for one in held],
    }
    plan = explain(session, "reload", {**ids, "owner": "me", "seconds": 30.0})
    assert indexes(plan, "sagas") == {"sagas_pkey"}
    assert indexes(explain(session, "lock", {"id": ids["ids"][0]}), "sagas") == {"sagas_pkey"}
    # Among those that live, however many have ended.
    live = {"sagas_live_idx", "sagas_one_live_per_key", "idx_sagas_type_state", "idx_sagas_state"}
    for name, parameters in (
        ("room", {"kind": "PLAIN"}),
        ("release_others", {"owner": "me", "ids": ids["ids"]}),
    ):
        found = {
            node["Index Name"]
            for node in nodes(explain(session, name, parameters))
            if "Index Name" in node
        }
        assert found, name
        assert found <= live, name


def test_retention_goes_on_where_its_last_batch_ended(used: Sagas, session: Any) -> None:
    used.execute(
        "UPDATE sagas SET started_at = now() - id_.n * interval '1 minute' - interval '31 days', "
        "completed_at = CASE WHEN outcome IS NULL THEN NULL ELSE now() - interval '31 days' END "
        "FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM sagas) AS id_ "
        "WHERE id_.id = sagas.id"
    )
    used.execute(
        "INSERT INTO saga_audit_events (id, saga_id, event_type, occurred_at) "
        "SELECT gen_random_uuid(), CASE WHEN n % 2 = 0 THEN gen_random_uuid() ELSE id END, 'X', "
        "now() - n * interval '1 minute' - interval '91 days' "
        "FROM (SELECT id, row_number() OVER () AS n FROM sagas LIMIT 20000) AS s"
    )
    used.execute("ANALYZE sagas, saga_audit_events")
    asked = {"since": "2020-01-01", "batch": 100, "age": "30 days"}

    plan = explain(session, "prune_sagas", {**asked, "states": ["COMPLETED", "CANCELLED"]})
    assert indexes(plan, "sagas") == {"idx_sagas_started_at"}
    plan = explain(session, "prune_audit", asked)
    assert indexes(plan, "saga_audit_events") == {"idx_saga_audit_occurred_at"}
    assert indexes(plan, "sagas") == {"sagas_pkey"}

    before = used.value("SELECT count(*) FROM sagas WHERE outcome IS NULL")
    deleted = {one.what: one.rows for one in prune(batch=1_000)}
    assert deleted["sagas"] == HISTORY + HISTORY // 10
    assert used.value("SELECT count(*) FROM sagas") == before
    orphans = "SELECT count(*) FROM saga_audit_events WHERE saga_id NOT IN (SELECT id FROM sagas)"
    assert used.value(orphans) == 0
    assert deleted["audit events"] >= 10_000


def test_many_of_the_same_moment_are_pruned(used: Sagas) -> None:
    used.execute("UPDATE sagas SET started_at = 'epoch', completed_at = 'epoch'")

    assert next(prune(batch=700)).rows == HISTORY + HISTORY // 10


@pytest.mark.slow
def test_a_claim_reads_as_little_with_a_million_finished_sagas(sagas: Sagas, session: Any) -> None:
    registry.register(Plain)
    fill(sagas, "IN_PROGRESS", LIVE)
    sagas.execute("VACUUM ANALYZE sagas")
    few = pages(session)
    for _ in range(10):
        fill(sagas, "COMPLETED", 100_000, "COMPLETED")
    sagas.execute("VACUUM ANALYZE sagas")

    many = pages(session)

    assert sagas.value("SELECT count(*) > 1000000 FROM sagas")
    assert many <= few * 1.5 + 20


def pages(session: Any) -> int:
    """How many pages a claim of one saga reads; the claim is undone."""
    found = 0
    with session.transaction() as transaction:
        plan = explain(session, "claim", {**CLAIM, "number": 1}, "ANALYZE, BUFFERS, ")
        found = int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
        raise psycopg.Rollback(transaction)
    return found
