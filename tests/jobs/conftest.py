"""The tables of the jobs, empty and committed to: workers look at them over connections of their
own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hodei.sessions import connect
from jobs import leases
from jobs.services import logs
from jobs.services.queue import enqueue
from jobs.worker import Worker, WorkerOptions
from tests.jobs import executors
from tests.tables import Tables, empty, transactional_db

__all__ = ["transactional_db"]

HERE = Path(__file__).parent
TABLES = (
    "jobs, job_queue, job_queue_deferred, job_leases, job_failed_attempts, job_log_files, "
    "job_log_tails, job_log_garbage, job_schedules, audit_logs, workers, provider_configs, "
    "worker_bootstrap_tokens"
)


class Jobs(Tables):
    """What a test says to the jobs, and asks of them."""

    def enqueue(self, n: Any = 0, do: str = "succeed", **options: Any) -> uuid.UUID:
        script = {
            key: options.pop(key)
            for key in ("kind", "retry_in", "seconds", "set")
            if key in options
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of these that commits says so by a fixture that it does not name itself."""
    for item in items:
        names = getattr(item, "fixturenames", [])
        commits = "jobs" in names and not item.get_closest_marker("django_db")
        if commits and item.path.is_relative_to(HERE) and "transactional_db" not in names:
            names.append("transactional_db")


@pytest.fixture
def jobs(request: pytest.FixtureRequest, settings: Any) -> Iterator[Jobs]:
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
    request.getfixturevalue("transactional_db")
    found = Jobs()
    written = f"{TABLES}, outbox_events"  # where settings ask for events, there are some
    empty(written)
    try:
        yield found
    finally:
        empty(written)


@pytest.fixture
def many_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers renew their leases five times a second, and then hear of what was cancelled or taken
    away. The leases are as long as ever, so that a slow machine loses none."""
    monkeypatch.setattr(leases, "RENEWALS", 5 * leases.LEASE_SECONDS)


@pytest.fixture
def session(jobs: Jobs) -> Iterator[psycopg.Connection[Any]]:
    """A connection as a worker has it."""
    with connect("default", "test") as session:
        yield session


@pytest.fixture
def tasks(jobs: Jobs, settings: Any) -> Iterator[Jobs]:
    """The same with tasks: those of ``example_tasks`` are jobs of the backend ``default``."""
    from tests.jobs import example_tasks

    settings.JOBS_EXECUTORS = {"python": "jobs.executors.python.PythonExecutor"}
    settings.TASKS = {"default": {"BACKEND": "jobs.backend.JobsBackend"}}
    example_tasks.noted.clear()
    example_tasks.began.clear()
    example_tasks.go_on.clear()
    yield jobs
    example_tasks.go_on.set()


def program(*words: str) -> dict[str, Any]:
    """The spec of a program."""
    return {"command": {"type": "shell", "cmd": words[0], "args": list(words[1:])}}


def script(content: str, interpreter: str = "sh") -> dict[str, Any]:
    """The spec of a script."""
    return {"command": {"type": "script", "interpreter": interpreter, "content": content}}


class Commands(Jobs):
    """The same, of jobs that run programs."""

    def enqueue(self, spec: Any = None, do: str = "", **options: Any) -> uuid.UUID:
        return enqueue(spec=spec, **options).id

    def run(self, spec: Any, **options: Any) -> uuid.UUID:
        """Enqueue a job and run it, once unless it says otherwise."""
        job = self.enqueue(spec, **{"max_attempts": 1, **options})
        self.drain()
        return job

    def result(self, job_id: uuid.UUID) -> Any:
        import json

        return json.loads(self.value("SELECT result::text FROM jobs WHERE id = %s", [job_id]))

    def output(self, job_id: uuid.UUID) -> str:
        return str(self.result(job_id)["Success"]["output"])

    def failure(self, job_id: uuid.UUID) -> tuple[str, str, str]:
        """State of the job; kind and message of its newest attempt."""
        ((state, kind, message),) = self.rows(
            "SELECT j.state, f.kind, f.message FROM jobs AS j JOIN job_failed_attempts AS f "
            "ON f.job_id = j.id WHERE j.id = %s ORDER BY f.id DESC LIMIT 1",
            [job_id],
        )
        return state, kind, message

    def raw_log(self, job_id: uuid.UUID) -> bytes:
        return b"".join(logs.read(job_id))

    def log(self, job_id: uuid.UUID) -> str:
        return self.raw_log(job_id).decode()

    def lines(self, job_id: uuid.UUID, kind: str = "INFO") -> list[str]:
        """The whole lines of one kind, without their times."""
        mark = f" [{kind}] "
        return [line.split(mark, 1)[1] for line in self.log(job_id).splitlines() if mark in line]

    def tail(self, job_id: uuid.UUID) -> str:
        rows = self.rows("SELECT tail FROM job_log_tails WHERE job_id = %s", [job_id])
        return bytes(rows[0][0]).decode() if rows else ""


@pytest.fixture
def commands(jobs: Jobs, log_folder: Path, settings: Any) -> Commands:
    """The tables of the test database, empty, and the executor ``command``."""
    settings.JOBS_EXECUTORS = {"command": "jobs.executors.command.CommandExecutor"}
    settings.JOBS_COMMAND_GRACE_SECONDS = 0.5
    return Commands()


@pytest.fixture
def log_folder(settings: Any, tmp_path: Path) -> Path:
    """Where logs are stored."""
    settings.STORAGES = {
        **settings.STORAGES,
        "job_logs": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "logs")},
        },
    }
    return tmp_path / "logs"
