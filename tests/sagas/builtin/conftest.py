"""The tables of jobs and sagas, empty and committed to, a provider of files, and a runner."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from jobs.services import orchestration, providers, workers
from sagas import scheduler
from sagas.chores import run_chore
from sagas.definition import Saga
from sagas.registry import chores
from sagas.runner import Runner, RunnerOptions
from sagas.services.start import start
from tests.jobs import executors
from tests.jobs.conftest import TABLES as OF_JOBS
from tests.jobs.conftest import Jobs
from tests.sagas.builtin import fleet
from tests.tables import empty

OF_SAGAS = "sagas, saga_steps, saga_step_attempts, saga_locks, saga_audit_events"
TABLES = f"{OF_JOBS}, {OF_SAGAS}, outbox_events"
WHO = "tests"


class Platform(Jobs):
    """What a test says to the jobs and the sagas, and asks of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def provider(self, **options: Any) -> uuid.UUID:
        config = {"folder": str(self.folder), **options.pop("config", {})}
        found = uuid.uuid4()
        providers.save(
            found,
            **{
                "name": f"fleet {found}",
                "provider_type": fleet.TYPE,
                "actor": WHO,
                "config": config,
                **options,
            },
        )
        return found

    def drive(self, definitions: Sequence[type[Saga]] | None = None) -> None:
        """Drive all sagas, of these definitions, until none of them can go on now."""
        Runner(RunnerOptions(drain=True, chores=False, definitions=definitions)).run()

    def schedule(self) -> None:
        """One look of the scheduler."""
        for chore in chores():
            if chore.function.__module__ == "sagas.scheduler":
                assert run_chore(chore, "default")

    def run_saga(self, kind: str, **given: Any) -> uuid.UUID:
        saga = start(kind, {name: str(value) for name, value in given.items()}, actor=WHO)
        self.drive()
        return saga

    def outcome(self, saga: uuid.UUID) -> str | None:
        found: str | None = self.value("SELECT outcome FROM sagas WHERE id = %s", [saga])
        return found

    def steps(self, saga: uuid.UUID) -> dict[str, str]:
        return dict(
            self.rows(
                "SELECT step_name, state FROM saga_steps WHERE saga_id = %s ORDER BY step_order",
                [saga],
            )
        )

    def output(self, saga: uuid.UUID, step: str) -> Any:
        import json

        text = self.value(
            "SELECT output_data::text FROM saga_steps WHERE saga_id = %s AND step_name = %s",
            [saga, step],
        )
        return None if text is None else json.loads(text)

    def error(self, saga: uuid.UUID) -> str:
        return str(self.value("SELECT error_message FROM sagas WHERE id = %s", [saga]))

    def worker_state(self, worker: uuid.UUID) -> str:
        return str(self.value("SELECT state FROM workers WHERE id = %s", [worker]))

    def ready_worker(self, **spec: Any) -> uuid.UUID:
        return workers.register_local(
            resource_id="here", spec={"concurrency": 1, "queues": [], **spec}
        )

    def silence(self, worker: uuid.UUID, seconds: float = 60.0) -> None:
        self.execute(
            "UPDATE workers SET last_heartbeat = now() - %s * interval '1 second' WHERE id = %s",
            [seconds, worker],
        )

    def running_job(self, worker: uuid.UUID, **options: Any) -> uuid.UUID:
        """An orchestrated job that this worker runs, as far as the database knows."""
        job = self.enqueue(orchestrated=True, **options)
        assert orchestration.assign(job, worker_id=worker, actor=WHO) is not None
        self.execute(
            "UPDATE jobs SET state = 'RUNNING', attempts = 1, started_at = now() WHERE id = %s",
            [job],
        )
        return job

    def finish(self, job: uuid.UUID, state: str = "SUCCEEDED") -> None:
        """As its worker would."""
        self.execute("DELETE FROM job_leases WHERE job_id = %s", [job])
        self.execute(
            "UPDATE jobs SET state = %s, completed_at = now() WHERE id = %s AND state = 'RUNNING'",
            [state, job],
        )

    def hurry(self) -> None:
        """What waits for a time is due now."""
        self.execute("UPDATE sagas SET due_at = now() WHERE outcome IS NULL")
        self.execute("UPDATE saga_steps SET due_at = now() WHERE due_at IS NOT NULL")


@pytest.fixture
def platform(
    django_db_setup: None,
    django_db_blocker: Any,
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Platform]:
    settings.JOBS_EXECUTORS = {
        "test": "tests.jobs.executors.Scripted",
        "command": "jobs.executors.command.CommandExecutor",
    }
    settings.SAGAS_PROVIDERS = {
        fleet.TYPE: fleet.PATH,
        "process": "sagas.providers.process.ProcessProvider",
    }
    # The server of the tests may have been started a moment ago.
    monkeypatch.setattr(scheduler, "UPTIME_SECONDS", 0.0)
    executors.began.clear()
    executors.go_on.clear()
    executors.ran.clear()
    with django_db_blocker.unblock():
        assert connections["default"].settings_dict["NAME"].startswith("test_")
        found = Platform(tmp_path)
        empty(TABLES)
        try:
            yield found
        finally:
            empty(TABLES)
            connections["default"].close()
