"""On real processes: a runner, the workers that it has made, and one that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from jobs.services import providers
from jobs.services.queue import enqueue
from tests.processes import ROOT, environment, eventually
from tests.sagas.builtin.conftest import Platform

pytestmark = [pytest.mark.process, pytest.mark.every_server]


def variables() -> dict[str, str]:
    """The environment of a process of the platform, on the test database."""
    settings = connections["default"].settings_dict
    url = (
        f"postgresql://{settings['USER']}:{settings['PASSWORD'] or ''}@/{settings['NAME']}"
        f"?host={settings['HOST']}&port={settings['PORT']}"
    )
    return environment(
        DATABASE_URL=url,
        SECRET_KEY="k" * 60,
        DEBUG="1",
        DJANGO_SETTINGS_MODULE="tests.sagas.builtin.settings",
    )


@contextmanager
def runner(output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "sagas_runner"],
            cwd=ROOT,
            env=variables(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Story:
    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform = platform
        self.folder = folder
        self.provider = uuid.uuid4()
        providers.save(
            self.provider,
            name="this machine",
            provider_type="process",
            config={"folder": str(folder / "workers"), "grace": 1},
            max_workers=1,
            actor="tests",
        )

    def enqueue(self) -> uuid.UUID:
        """A command that notes its begin, and ends when a file is there."""
        began, go_on = self.folder / "began", self.folder / "go on"
        content = (
            f'echo "$HODEI_ATTEMPT" >> "{began}"\n'
            f'while [ ! -e "{go_on}" ]; do sleep 0.05; done\necho done\n'
        )
        spec = {"command": {"type": "script", "interpreter": "sh", "content": content}}
        return enqueue(spec=spec, name="report", orchestrated=True, correlation_id="the report").id

    def runs(self) -> int:
        began = self.folder / "began"
        return len(began.read_text().splitlines()) if began.exists() else 0

    def pid(self, worker: uuid.UUID) -> int | None:
        found: int | None = self.platform.value(
            "SELECT (handle->'infrastructure'->>'pid')::int FROM workers WHERE id = %s", [worker]
        )
        return found

    def sagas(self) -> list[tuple[Any, ...]]:
        return self.platform.rows("SELECT saga_type, outcome FROM sagas ORDER BY started_at, id")

    def events(self, aggregate: uuid.UUID) -> list[str]:
        """Types of what the outbox tells of it, in order."""
        rows = self.platform.rows(
            "SELECT event_type FROM outbox_events WHERE aggregate_id = %s ORDER BY seq", [aggregate]
        )
        return [row[0] for row in rows]

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')}"
            for path in [*self.folder.glob("*.log"), *self.folder.glob("workers/*.log")]
        )


@pytest.fixture
def story(platform: Platform, tmp_path: Path) -> Iterator[Story]:
    found = Story(platform, tmp_path)
    yield found
    from sagas.providers.process import ProcessProvider

    for path in (tmp_path / "workers").glob("*.json"):
        ProcessProvider({"folder": str(tmp_path / "workers"), "grace": 0.2}).destroy(path.stem, {})


def test_a_job_outlives_its_worker(story: Story, tmp_path: Path) -> None:
    platform = story.platform
    job = story.enqueue()

    with runner(tmp_path / "runner.log"):
        # No worker lives: one is made, registers with its token, and gets the job.
        assert eventually(lambda: story.runs() == 1, 60), story.logs()
        ((first,),) = platform.rows("SELECT id FROM workers")
        assert platform.state(job) == "RUNNING"

        assert eventually(lambda: story.pid(first) is not None)
        pid = story.pid(first)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

        # Its place is free, and another one is made, which runs the job again.
        assert eventually(lambda: story.runs() == 2, 60), story.logs()
        (tmp_path / "go on").touch()
        assert eventually(lambda: platform.state(job) == "SUCCEEDED"), story.logs()
        assert eventually(lambda: all(outcome for _, outcome in story.sagas())), story.sagas()

    ((second,),) = platform.rows("SELECT id FROM workers WHERE id <> %s", [first])
    assert platform.worker_state(first) == "TERMINATED"
    assert story.sagas() == [
        ("EXECUTION", "COMPLETED"),
        ("PROVISIONING", "COMPLETED"),
        ("RECOVERY", "COMPLETED"),
    ]
    assert platform.rows("SELECT attempts, lost_leases, worker_id FROM jobs") == [(1, 1, second)]

    told = platform.rows(
        "SELECT event_type, coalesce(payload->>'worker_id', payload->>'to') FROM audit_logs "
        "WHERE event_type IN ('WorkerCreated', 'WorkerRegistered', 'WorkerProvisioned', "
        "'WorkerTerminated', 'JobTransferred', 'JobExecuted') ORDER BY occurred_at, id"
    )
    assert [(event, uuid.UUID(worker)) for event, worker in told] == [
        ("WorkerCreated", first),
        ("WorkerRegistered", first),
        ("WorkerProvisioned", first),
        ("WorkerTerminated", first),
        ("WorkerCreated", second),
        ("WorkerRegistered", second),
        ("JobTransferred", second),
        ("JobExecuted", second),
    ]
    assert story.events(job) == [
        *("JobAssigned", "JobStarted", "JobRescued"),
        *("JobAssigned", "JobTransferred", "JobStarted", "JobSucceeded", "JobExecuted"),
    ]
    life = ["WorkerCreated", "WorkerRegistered", "WorkerStateChanged"]
    assert story.events(first)[:3] == story.events(second)[:3] == life
    assert "WorkerProvisioned" in story.events(first)
    assert "WorkerTerminated" in story.events(first)
