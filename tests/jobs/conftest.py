"""The tables of the jobs, empty and committed to: workers look at them over connections of their
own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.sessions import connect
from jobs.services.queue import enqueue
from jobs.worker import Worker, WorkerOptions
from tests.jobs import executors

TABLES = (
    "jobs, job_queue, job_queue_deferred, job_leases, job_failed_attempts, job_log_files, "
    "job_log_tails, job_log_garbage, job_schedules, audit_logs, workers, provider_configs, "
    "worker_bootstrap_tokens"
)


class Jobs:
    """What a test says to the jobs, and asks of them."""

    def execute(self, sql: str, parameters: Any = None) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql, parameters)

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def value(self, sql: str, parameters: Any = None) -> Any:
        ((found,),) = self.rows(sql, parameters)
        return found

    def enqueue(self, n: Any = 0, do: str = "succeed", **options: Any) -> uuid.UUID:
        script = {
            key: options.pop(key) for key in ("kind", "retry_in", "seconds") if key in options
        }
        return enqueue(spec={"test": {"do": do, "n": n, **script}}, **options).id

    def state(self, job_id: uuid.UUID) -> str:
        return str(self.value("SELECT state FROM jobs WHERE id = %s", [job_id]))

    def place(self, job_id: uuid.UUID) -> list[str]:
        """In which of the small tables it is."""
        return [
            table
            for table in ("job_queue", "job_queue_deferred", "job_leases")
            if self.value(f"SELECT count(*) FROM {table} WHERE job_id = %s", [job_id])
        ]

    def worker(self, stop: threading.Event | None = None, **options: Any) -> Worker:
        return Worker(WorkerOptions(**{"concurrency": 1, **options}), stop=stop)

    def drain(self, **options: Any) -> list[Any]:
        """Run a worker until nothing is left to do; returns what it ran, in order."""
        executors.ran.clear()
        self.worker(drain=True, **options).run()
        return list(executors.ran)


@pytest.fixture
def jobs(
    django_db_setup: None, django_db_blocker: Any, settings: Any, request: pytest.FixtureRequest
) -> Iterator[Jobs]:
    """The tables of the test database, empty, and the executor ``test``.

    A test that is marked ``django_db`` has them in its transaction, which is much quicker; what it
    does there is seen by no other connection.
    """
    settings.JOBS_EXECUTORS = {"test": "tests.jobs.executors.Scripted"}
    executors.began.clear()
    executors.go_on.clear()
    executors.ran.clear()
    if request.node.get_closest_marker("django_db"):
        request.getfixturevalue("db")
        yield Jobs()
        return
    with django_db_blocker.unblock():
        found = Jobs()
        found.execute(f"TRUNCATE {TABLES}")
        try:
            yield found
        finally:
            found.execute(f"TRUNCATE {TABLES}")
            connections["default"].close()


@pytest.fixture
def session(jobs: Jobs) -> Iterator[psycopg.Connection[Any]]:
    """A connection as a worker has it."""
    with connect("default", "test") as session:
        yield session
