"""The baseline is the original's schema, and head still takes what the original writes."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError
from psycopg.types.json import Jsonb

from jobs.states import ProviderType
from tests.databases import Migrated
from tests.migrations import catalog

CONTRACT = catalog.contract()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

#: Every value that the original's code or its constraints know, by (table, column).
VALUES = {
    ("jobs", "state"): [
        *("CREATED", "PENDING", "ASSIGNED", "SCHEDULED", "RUNNING", "SUCCEEDED", "FAILED"),
        *("CANCELLED", "TIMEOUT", "MANUAL_INTERVENTION_REQUIRED"),
    ],
    ("workers", "state"): [
        *("CREATING", "CONNECTING", "REGISTERED", "READY", "BUSY", "DRAINING", "TERMINATING"),
        *("TERMINATED", "FAILED"),
    ],
    ("workers", "provider_type"): [*ProviderType, "custom:firecracker", "custom:x"],
    ("provider_configs", "provider_type"): [*ProviderType, "custom:firecracker", "custom:x"],
    ("provider_configs", "status"): [
        *("ACTIVE", "INACTIVE", "MAINTENANCE", "DISABLED", "OVERLOADED", "UNHEALTHY"),
        *("DEGRADED", "ERROR"),
    ],
    ("outbox_events", "status"): ["PENDING", "PUBLISHED", "FAILED"],
    ("outbox_events", "aggregate_type"): ["JOB", "WORKER", "PROVIDER", "SAGA", "ORDER"],
    ("outbox_dlq", "aggregate_type"): ["JOB", "WORKER", "PROVIDER", "SAGA", "ORDER"],
    ("sagas", "saga_type"): [
        *("PROVISIONING", "EXECUTION", "RECOVERY", "CANCELLATION", "TIMEOUT", "CLEANUP"),
        "an application's own kind",
    ],
    ("sagas", "state"): [
        *("PENDING", "IN_PROGRESS", "COMPENSATING", "COMPLETED", "FAILED", "CANCELLED"),
    ],
    ("saga_steps", "state"): [
        *("PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "COMPENSATING", "COMPENSATED"),
        *("UNKNOWN", "SKIPPED", "PARKED"),
    ],
}
PARENTS = {
    ("workers", "provider_id"): "provider_configs",
    ("workers", "current_job_id"): "jobs",
    ("jobs", "selected_provider_id"): "provider_configs",
    ("job_queue", "job_id"): "jobs",
    ("job_log_files", "job_id"): "jobs",
    ("saga_steps", "saga_id"): "sagas",
    ("saga_audit_events", "saga_id"): "sagas",
}


def test_the_baseline_is_the_contract(baseline: Migrated) -> None:
    found = catalog.read(baseline)

    for table, facts in CONTRACT.items():
        assert found[table] == facts
    assert {
        table for table in found if not table.startswith(("django_", "schema_migration_"))
    } == set(CONTRACT)


def sample(kind: str, *, short: str = "x") -> Any:
    """A value of the type, in the original's terms."""
    if kind == "uuid":
        return uuid.uuid4()
    if kind == "jsonb":
        return {"a": 1}
    if kind == "timestamp with time zone":
        return NOW
    return 1 if kind in {"integer", "bigint"} else f"{short}{uuid.uuid4().hex[:15]}"


def insert(head: Migrated, table: str, *, every_column: bool, **given: Any) -> dict[str, Any]:
    """Insert a row as the original would: with all its columns, or with the required ones."""
    values: dict[str, Any] = {}
    for column in CONTRACT[table]["columns"]:
        name = column["name"]
        required = not column["nullable"] and column["default"] is None
        if name in given:
            values[name] = given[name]
        elif not (every_column or required) or column["default"] == "(sequence)":
            continue
        elif (table, name) in PARENTS:
            parent = insert(head, PARENTS[table, name], every_column=False)
            values[name] = parent["id"]
        elif (table, name) in VALUES:
            values[name] = VALUES[table, name][0]
        else:
            values[name] = sample(column["type"])
    if "id" in {column["name"] for column in CONTRACT[table]["columns"]} and table != "job_queue":
        values.setdefault("id", uuid.uuid4())
    head.insert(table, **values)
    return values


@pytest.mark.parametrize("every_column", [True, False])
@pytest.mark.parametrize("table", sorted(CONTRACT))
def test_head_takes_an_insert_of_the_original(
    rolled_back: Migrated, table: str, every_column: bool
) -> None:
    values = insert(rolled_back, table, every_column=every_column)

    conditions = " AND ".join(f"{name} = %s" for name in values)
    wanted = [Jsonb(value) if isinstance(value, dict) else value for value in values.values()]
    assert rolled_back.value(f"SELECT count(*) FROM {table} WHERE {conditions}", wanted) == 1


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [(table, column, value) for (table, column), values in VALUES.items() for value in values],
)
def test_head_takes_every_value(rolled_back: Migrated, table: str, column: str, value: str) -> None:
    insert(rolled_back, table, every_column=True, **{column: str(value)})

    assert rolled_back.value(f"SELECT count(*) FROM {table} WHERE {column} = %s", [str(value)]) == 1


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("jobs", "state", "QUEUED"),
        ("workers", "state", "IDLE"),
        ("workers", "provider_type", "custom:"),
        ("provider_configs", "status", "active"),
        ("outbox_events", "status", "SENT"),
        ("sagas", "state", "RUNNING"),
        ("saga_steps", "state", "DONE"),
    ],
)
def test_head_refuses_a_value_that_is_in_no_list(
    rolled_back: Migrated, table: str, column: str, value: str
) -> None:
    with pytest.raises(IntegrityError, match=f"{table}_{column}_check"):
        insert(rolled_back, table, every_column=True, **{column: value})


def test_head_takes_an_update_of_the_original(rolled_back: Migrated) -> None:
    job = insert(rolled_back, "jobs", every_column=True)["id"]
    rolled_back.insert("job_queue", job_id=job)

    moved = rolled_back.execute(
        "UPDATE jobs SET state = 'ASSIGNED', attempts = attempts + 1, started_at = now() "
        "WHERE id = %s",
        [job],
    )
    rolled_back.execute(
        "INSERT INTO job_queue (job_id) VALUES (%s) ON CONFLICT (job_id) DO NOTHING", [job]
    )

    assert moved == 1
    assert rolled_back.value("SELECT count(*) FROM job_queue") == 1
