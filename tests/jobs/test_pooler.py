"""What docs/how-to/jobs/connections.md says of a worker behind PgBouncer, and of connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from jobs.services.queue import COPY_FROM, Counts, enqueue, enqueue_many
from jobs.spec import NewJob
from jobs.worker import Worker, WorkerOptions
from tests.databases import alias_of
from tests.jobs import executors
from tests.jobs.conftest import Jobs
from tests.jobs.kit import running
from tests.pooler import pgbouncer
from tests.processes import eventually

pytestmark = [pytest.mark.process, pytest.mark.every_server]


@pytest.fixture(params=["transaction", "session"])
def pooled(request: pytest.FixtureRequest, jobs: Jobs, tmp_path: Path) -> Iterator[str]:
    connections["default"].ensure_connection()
    info = connections["default"].connection.info
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": info.dbname,
        "USER": info.user,
        "PASSWORD": info.password,
        "HOST": info.host,
        "PORT": str(info.port),
    }
    with pgbouncer(database, request.param, tmp_path) as through, alias_of(through) as alias:
        yield alias


def test_a_worker_behind_a_pooler_runs_what_is_there_and_what_comes(
    pooled: str, jobs: Jobs
) -> None:
    for number in range(50):
        jobs.enqueue(number)
    worker = Worker(
        WorkerOptions(using=pooled, concurrency=4, longest_poll=0.1), stop=threading.Event()
    )

    with running(worker):
        assert eventually(lambda: worker.runs == 50)
        enqueue(using=pooled, spec={"test": {"do": "succeed", "n": 50}})
        assert eventually(lambda: worker.runs == 51)

    assert sorted(executors.ran) == list(range(51))
    assert jobs.rows("SELECT DISTINCT state FROM jobs") == [("SUCCEEDED",)]
    held = (
        "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database "
        "WHERE l.locktype = 'advisory' AND d.datname = current_database()"
    )
    assert jobs.value(held) == 0


def test_many_jobs_with_keys_go_through_a_pooler(pooled: str, jobs: Jobs) -> None:
    """The temporary table lives and ends in their transaction, whichever session that has."""
    spec = {"test": {"do": "succeed"}}

    def many(first: int) -> Counts:
        given = range(first, first + COPY_FROM)
        return enqueue_many(
            (NewJob(spec=spec, idempotency_key=f"{n}") for n in given), using=pooled
        )

    assert many(0) == Counts(enqueued=COPY_FROM, known=0)
    assert many(1) == Counts(enqueued=1, known=COPY_FROM - 1)
    assert jobs.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'hodei_jobs_given%'") == 0


def test_a_worker_whose_jobs_use_no_database_has_two_connections(jobs: Jobs) -> None:
    jobs.enqueue(0)
    worker = Worker(WorkerOptions(concurrency=10), stop=threading.Event())
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name LIKE 'hodei jobs %'"
    )

    with running(worker):
        assert eventually(lambda: worker.runs == 1)
        assert jobs.value(query) == 2
