"""The statements of the scheduler, and those by which workers get orchestrated jobs, read no table
whole: they run every second, beside a history that only grows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.sessions import connect
from hodei.sql import statement
from jobs.wakeup import CHANNEL
from tests.jobs.conftest import TABLES as OF_JOBS
from tests.plans import Plan
from tests.sagas.builtin.conftest import OF_SAGAS

HISTORY = """
    INSERT INTO provider_configs (id, name, provider_type)
    VALUES (gen_random_uuid(), 'p', 'process');
    INSERT INTO jobs (id, spec, state, queue, worker_id, orchestrated, timeout, started_at)
    SELECT md5('j' || n)::uuid, '{}', CASE WHEN n % 100 = 0 THEN 'PENDING' ELSE 'SUCCEEDED' END,
           'q' || n % 5, md5('w' || n % 5000)::uuid, n % 2 = 0, interval '1 minute', now()
      FROM generate_series(1, 30000) AS s (n);
    UPDATE jobs SET state = 'RUNNING' WHERE state = 'PENDING' AND queue = 'q1';
    INSERT INTO job_queue (job_id, queue) SELECT id, queue FROM jobs
     WHERE state = 'PENDING' AND NOT orchestrated;
    INSERT INTO job_leases (job_id, worker_id, epoch, expires_at)
    SELECT id, worker_id, row_number() OVER (), now() + interval '1 minute' FROM jobs
     WHERE state = 'RUNNING';
    INSERT INTO workers (id, provider_id, provider_type, provider_resource_id, state, spec, handle,
                         last_heartbeat, updated_at)
    SELECT md5('w' || n)::uuid, p.id, 'process', n,
           CASE WHEN n % 200 = 0 THEN 'READY' ELSE 'TERMINATED' END, '{}',
           '{"infrastructure": {}, "destroyed": true}', now(), now() - interval '1 day'
      FROM generate_series(1, 5000) AS s (n), provider_configs AS p;
    INSERT INTO sagas (saga_type, business_key, state, outcome, started_at, completed_at)
    SELECT kind, md5('j' || n)::uuid::text, 'COMPLETED', 'COMPLETED',
           now() - n * interval '1 minute', now() - n * interval '1 minute'
      FROM generate_series(1, 8000) AS s (n),
           unnest(ARRAY['EXECUTION', 'RECOVERY', 'TIMEOUT', 'PROVISIONING', 'CLEANUP']) AS k (kind)
"""
USED = f"{OF_JOBS}, {OF_SAGAS}"
FACTS: dict[str, Any] = {
    "number": 200,
    "silence": 30.0,
    "uptime": 30.0,
    "making": 600.0,
    "pause": 30.0,
    "grace": 30.0,
    "age": 60.0,
    "types": ["process"],
    "job": uuid.UUID(int=1),
    "worker": uuid.UUID(int=2),
    "seconds": 30.0,
    "channel": CHANNEL,
}


@pytest.fixture(scope="module")
def session(django_db_setup: None, django_db_blocker: Any) -> Iterator[psycopg.Connection[Any]]:
    with django_db_blocker.unblock():
        with connections["default"].cursor() as cursor:
            cursor.execute(f"TRUNCATE {USED}")
            cursor.execute(HISTORY)
            cursor.execute(f"ANALYZE {USED}")
        try:
            with connect("default", "test of plans") as found:
                yield found
        finally:
            with connections["default"].cursor() as cursor:
                cursor.execute(f"TRUNCATE {USED}")
            connections["default"].close()


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("sagas", "jobs_to_execute"),
        ("sagas", "jobs_to_recover"),
        ("sagas", "jobs_overdue"),
        ("sagas", "waiting_queues"),
        ("sagas", "workers_at_work"),
        ("sagas", "silent_workers"),
        ("sagas", "recent_failures"),
        ("jobs", "assign"),
        ("jobs", "assigned"),
        ("jobs", "leave_assigned"),
    ],
)
def test_no_history_is_read(session: psycopg.Connection[Any], app: str, name: str) -> None:
    plan = Plan(session, statement(app, name), FACTS)

    for table in ("jobs", "sagas", "workers"):
        assert "none" not in plan.indexes_of(table), plan.nodes


def test_looking_for_what_is_left_reads_the_workers_that_ended(
    session: psycopg.Connection[Any],
) -> None:
    """Four times a minute, and retention deletes them."""
    plan = Plan(session, statement("sagas", "workers_to_clean"), FACTS)

    assert "none" not in plan.indexes_of("sagas"), plan.nodes
