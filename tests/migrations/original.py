"""Databases as the original made them: by its five migrations, and by all that came before those.

Built from the contract, which is the catalog after the five, and from the facts of each older form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.databases import Migrated
from tests.migrations.catalog import CONTRACT

Build = Callable[[Migrated], None]

REFERENCE: dict[str, Any] = json.loads(CONTRACT.read_text())


def build(database: Migrated, *, without: Sequence[str] = ()) -> None:
    """Every table of the contract, exactly."""
    tables = {name: facts for name, facts in REFERENCE.items() if name not in without}
    for name, facts in tables.items():
        make_table(database, name, facts)
    for name, facts in tables.items():
        for key in facts["foreign_keys"]:
            database.execute(
                f"ALTER TABLE {name} ADD CONSTRAINT {key['name']} "
                f"FOREIGN KEY ({', '.join(key['columns'])}) REFERENCES {key['ref_table']} "
                f"({', '.join(key['ref_columns'])}) ON DELETE {key['on_delete']}"
            )


def make_table(database: Migrated, name: str, facts: dict[str, Any]) -> None:
    for column in facts["columns"]:
        if column["owned_sequence"]:
            database.execute(f"CREATE SEQUENCE {column['owned_sequence']}")
    parts = [column_of(column) for column in facts["columns"]]
    key = facts["primary_key"]
    parts.append(f"CONSTRAINT {key['name']} PRIMARY KEY ({', '.join(key['columns'])})")
    parts += [
        f"CONSTRAINT {one['name']} UNIQUE ({', '.join(one['columns'])})" for one in facts["uniques"]
    ]
    parts += [f"CONSTRAINT {one['name']} {as_written(one)}" for one in facts["checks"]]
    database.execute(f"CREATE TABLE {name} ({', '.join(parts)})")
    for index in facts["indexes"]:
        if not index["constraint"]:
            database.execute(index["definition"])
    comments = [(f"TABLE {name}", facts["comment"])] + [
        (f"COLUMN {name}.{column['name']}", column["comment"]) for column in facts["columns"]
    ]
    for target, text in comments:
        if text is not None:
            database.execute(f"COMMENT ON {target} IS %s", [text])
    for column in facts["columns"]:
        if column["owned_sequence"]:
            database.execute(
                f"ALTER SEQUENCE {column['owned_sequence']} OWNED BY {name}.{column['name']}"
            )


def as_written(check: dict[str, Any]) -> str:
    """Every CHECK is a list of values, and is printed by the server in other words."""
    (column,) = re.findall(r"(\w+)\)?(?:::text)? = ANY", check["definition"])
    values = ", ".join(f"'{value}'" for value in re.findall(r"'(\w+)'", check["definition"]))
    return f"CHECK ({column} IN ({values}))"


def column_of(column: dict[str, Any]) -> str:
    default = f" DEFAULT {column['default']}" if column["default"] else ""
    null = "" if column["nullable"] else " NOT NULL"
    return f"{column['name']} {column['type']}{default}{null}"


def fill(database: Migrated, number: int) -> None:
    """So many rows in every table there is, with every value that the original could write."""
    there = tables(database)
    for table, statement in ROWS.items():
        if table in there:
            database.execute(statement, {"number": number})


def tables(database: Migrated) -> set[str]:
    return {
        name
        for (name,) in database.rows(
            "SELECT relname FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace"
        )
    }


def rows_of(database: Migrated) -> dict[str, dict[str, dict[str, Any]]]:
    """Every row of every table of the contract, in its columns, by primary key if it has that."""
    found = {}
    for table in REFERENCE.keys() & tables(database):
        facts = REFERENCE[table]
        there = {
            name
            for (name,) in database.rows(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass", [table]
            )
        }
        (primary,) = facts["primary_key"]["columns"]
        by = primary if primary in there else "ctid"
        names = ", ".join(one["name"] for one in facts["columns"] if one["name"] in there)
        found[table] = dict(
            database.rows(
                f"SELECT {by}::text, (SELECT to_jsonb(t) FROM (SELECT {names}) AS t) FROM {table}"
            )
        )
    return found


def key(kind: int, number: str = "n") -> str:
    """SQL: the same UUID for the same number, another one for each kind of row."""
    return f"('{kind:08x}-0000-4000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid"


def cycle(*values: str) -> str:
    """SQL: each of the values in turn."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"(ARRAY[{listed}])[1 + n %% {len(values)}]"


EACH = "FROM generate_series(1, %(number)s) n"
PROVIDER, JOB, WORKER, AUDIT, LOG, TOKEN, EVENT, DEAD, SAGA, STEP, STORY = range(1, 12)
BEGINNING = "timestamptz '2026-01-01 00:00:00+00'"

TYPES = cycle("docker", "kubernetes", "firecracker")
AGGREGATES = cycle("JOB", "WORKER", "PROVIDER")
JOB_STATES = cycle("CREATED", "PENDING", "ASSIGNED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED")
WORKER_STATES = cycle("REGISTERED", "BUSY", "READY", "TERMINATED", "FAILED")
SAGA_STATES = cycle("PENDING", "IN_PROGRESS", "COMPENSATING", "COMPLETED", "FAILED", "CANCELLED")
STEP_STATES = cycle("PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "COMPENSATING", "COMPENSATED")

#: In the order in which they can be inserted. Twice as many jobs: the second half waits in line.
ROWS = {
    "provider_configs": f"""
        INSERT INTO provider_configs (id, name, provider_type, status, config)
        SELECT {key(PROVIDER)}, 'provider ' || n, {TYPES},
               {cycle("ACTIVE", "INACTIVE", "MAINTENANCE", "ERROR")},
               jsonb_build_object('n', n, 'odd', E'quote \\' snow \\u2603') {EACH}
    """,
    "jobs": f"""
        INSERT INTO jobs (id, spec, state, selected_provider_id, attempts, created_at, result,
                          error_message)
        SELECT {key(JOB)}, jsonb_build_object('command', 'true', 'n', n),
               CASE WHEN n > %(number)s THEN 'PENDING' ELSE {JOB_STATES} END,
               CASE WHEN n <= %(number)s THEN {key(PROVIDER)} END, n %% 4,
               {BEGINNING} + n * interval '1 second', '{{"exit_code": 0}}', 'perhaps'
          FROM generate_series(1, 2 * %(number)s) n
    """,
    "job_queue": f"""
        INSERT INTO job_queue (job_id, enqueued_at, priority)
        SELECT {key(JOB, "n + %(number)s")}, {BEGINNING}, n {EACH}
    """,
    "workers": f"""
        INSERT INTO workers (id, provider_id, provider_type, provider_resource_id, state, spec,
                             handle, current_job_id, last_heartbeat)
        SELECT {key(WORKER)}, {key(PROVIDER)}, {TYPES}, 'container ' || n, {WORKER_STATES},
               '{{"image": "worker:1"}}', '{{}}', CASE WHEN n %% 5 = 1 THEN {key(JOB)} END,
               {BEGINNING} {EACH}
    """,
    "audit_logs": f"""
        INSERT INTO audit_logs (id, correlation_id, event_type, payload, occurred_at, actor)
        SELECT {key(AUDIT)}, 'job-' || n, 'JobCreated', jsonb_build_object('n', n), {BEGINNING},
               'system' {EACH}
    """,
    "job_log_files": f"""
        INSERT INTO job_log_files (id, job_id, storage_uri, size_bytes, entry_count, expires_at)
        SELECT {key(LOG)}, {key(JOB)}, 'file:///logs/' || n || '.log', n, n,
               {BEGINNING} + interval '168 hours' {EACH}
    """,
    "worker_bootstrap_tokens": f"""
        INSERT INTO worker_bootstrap_tokens (token, worker_id, expires_at, consumed_at)
        SELECT {key(TOKEN)}, {key(WORKER)}, {BEGINNING}, {BEGINNING} {EACH}
    """,
    "outbox_events": f"""
        INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, payload,
                                   idempotency_key, status, published_at, last_error)
        SELECT {key(EVENT)}, {key(JOB)}, {AGGREGATES}, 'JobCreated', jsonb_build_object('n', n),
               'created-' || n, {cycle("PENDING", "PUBLISHED", "FAILED")},
               CASE WHEN n %% 3 = 1 THEN {BEGINNING} END,
               CASE WHEN n %% 3 = 2 THEN 'no route' END {EACH}
    """,
    "outbox_dlq": f"""
        INSERT INTO outbox_dlq (id, original_event_id, aggregate_id, aggregate_type, event_type,
                                payload, error_message, retry_count, original_created_at,
                                resolved_at, resolved_by)
        SELECT {key(DEAD)}, {key(DEAD)}, {key(JOB)}, {AGGREGATES}, 'JobFailed', '{{}}', 'no route',
               3, {BEGINNING}, CASE WHEN n %% 2 = 0 THEN {BEGINNING} END,
               CASE WHEN n %% 2 = 0 THEN 'ann' END {EACH}
    """,
    "sagas": f"""
        INSERT INTO sagas (id, saga_type, state, correlation_id, completed_at, error_message)
        SELECT {key(SAGA)}, {cycle("PROVISIONING", "EXECUTION", "RECOVERY")}, {SAGA_STATES},
               'job-' || n, CASE WHEN n %% 6 > 2 THEN {BEGINNING} END,
               CASE WHEN n %% 6 = 4 THEN 'no' END {EACH}
    """,
    "saga_steps": f"""
        INSERT INTO saga_steps (id, saga_id, step_name, step_order, state, input_data)
        SELECT {key(STEP)}, {key(SAGA)}, 'ValidateJob', 0, {STEP_STATES}, '{{}}' {EACH}
    """,
    "saga_audit_events": f"""
        INSERT INTO saga_audit_events (id, saga_id, event_type, step_name, message, payload)
        SELECT {key(STORY)}, {key(SAGA)}, 'StepStarted', 'ValidateJob', 'began', '{{}}' {EACH}
    """,
}
