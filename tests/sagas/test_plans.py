"""By which index the statements that run all the time find their rows, on tables with a
history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.sessions import connect
from sagas.leases import Leases
from tests.sagas.conftest import TABLES
from tests.sagas.history import AUDIT, CLAIM, KINDS, Plain, explain, fill
from tests.tables import Tables

HISTORY, LIVE = 20_000, 4_000


@pytest.fixture(scope="module")
def used(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Sagas that have ended, and some in each state in which they live, for all tests of this file:
    what they change they undo."""
    with django_db_blocker.unblock():
        tables = Tables()
        tables.execute(f"TRUNCATE {TABLES}")
        fill(tables, "COMPLETED", HISTORY, "COMPLETED")
        fill(tables, "CANCELLED", HISTORY // 10, "CANCELLED")
        for state in ("PENDING", "IN_PROGRESS", "COMPENSATING"):
            fill(tables, state, LIVE)
        tables.execute(
            "INSERT INTO saga_steps (saga_id, step_name, step_order, state) "
            "SELECT id, name, place, 'PENDING' "
            "FROM sagas, (VALUES ('a', 0), ('b', 1)) AS s (name, place)"
        )
        tables.execute(AUDIT, [HISTORY])
        tables.execute(f"ANALYZE {TABLES}")
        try:
            yield
        finally:
            tables.execute(f"TRUNCATE {TABLES}")
            connections["default"].close()


@pytest.fixture
def session(used: None) -> Iterator[psycopg.Connection[Any]]:
    """A connection as a runner has it, in a transaction that is undone."""
    with connect("default", "test of plans") as found, found.transaction(force_rollback=True):
        yield found


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


def test_each_statement_finds_its_rows_by_an_index(session: Any) -> None:
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


def test_what_is_done_now_and_then_finds_its_rows_by_an_index(session: Any) -> None:
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


def test_retention_begins_where_its_last_batch_ended(session: Any) -> None:
    asked = {"since": "2020-01-01", "batch": 100, "age": "30 days"}

    plan = explain(session, "prune_sagas", {**asked, "states": ["COMPLETED", "CANCELLED"]})
    assert indexes(plan, "sagas") == {"idx_sagas_started_at"}
    plan = explain(session, "prune_audit", asked)
    assert indexes(plan, "saga_audit_events") == {"idx_saga_audit_occurred_at"}
    assert indexes(plan, "sagas") == {"sagas_pkey"}
