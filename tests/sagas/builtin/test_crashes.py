"""The runner dies at every point of every built-in saga, and another one takes over: whatever the
point, the end is a declared one, and nothing is left that nobody accounts for."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.services import orchestration, workers
from sagas.builtin import execution
from sagas.builtin.infrastructure import resource_of, worker_of
from sagas.builtin.timeout import GRACE_SECONDS
from sagas.testing import Ran, crash_everywhere
from tests.sagas.builtin.conftest import WHO, Platform
from tests.sagas.builtin.fleet import asked, made

pytestmark = pytest.mark.slow


class Crashes:
    """The files of the provider are put back before each run, as the database is."""

    def __init__(self, platform: Platform, kept: Path) -> None:
        self.platform = platform
        self.kept = kept

    def everywhere(
        self,
        kind: str,
        judge: Callable[[Ran], None],
        *,
        failing: str | None = None,
        least: int,
        **given: Any,
    ) -> None:
        folder = self.platform.folder
        shutil.copytree(folder, self.kept)
        points = 0

        def prepare() -> None:
            shutil.rmtree(folder)
            shutil.copytree(self.kept, folder)

        text = {name: str(value) for name, value in given.items()}
        for ended in crash_everywhere(kind, text, failing=failing, prepare=prepare):
            assert ended.incident is None, ended
            judge(ended)
            points += 1
        assert points >= least


@pytest.fixture
def crashes(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Crashes:
    return Crashes(platform, tmp_path_factory.mktemp("kept") / "fleet")


@pytest.fixture
def old(platform: Platform) -> uuid.UUID:
    saga = platform.run_saga("PROVISIONING", provider_id=platform.provider(max_workers=2))
    return worker_of(saga)


class TestProvisioning:
    def test_forward(self, platform: Platform, crashes: Crashes) -> None:
        def judge(ended: Ran) -> None:
            worker = worker_of(ended.id)
            assert ended.outcome == "COMPLETED", ended
            assert platform.rows("SELECT id, state FROM workers") == [(worker, "READY")]
            assert made(platform.folder) == [resource_of(worker)]
            assert {key for _, key in asked(platform.folder)} == {resource_of(worker)}
            told = "SELECT count(*) FROM audit_logs WHERE event_type = 'WorkerProvisioned'"
            assert platform.value(told) == 1

        crashes.everywhere("PROVISIONING", judge, least=12, provider_id=platform.provider())

    @pytest.mark.parametrize("failing", ["register_worker", "publish"])
    def test_backward(self, platform: Platform, crashes: Crashes, failing: str) -> None:
        def judge(ended: Ran) -> None:
            assert ended.outcome == "COMPENSATED", ended
            assert platform.rows("SELECT DISTINCT state FROM workers") == [("TERMINATED",)]
            assert made(platform.folder) == []

        provider = platform.provider()
        crashes.everywhere("PROVISIONING", judge, failing=failing, least=16, provider_id=provider)


class TestExecution:
    @pytest.fixture
    def job(self, platform: Platform) -> uuid.UUID:
        platform.ready_worker()
        return platform.enqueue(orchestrated=True)

    def test_forward(
        self,
        platform: Platform,
        crashes: Crashes,
        job: uuid.UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        looks: list[int] = []
        look = orchestration.look

        def runs(job_id: uuid.UUID, *, using: str = "default") -> Any:
            """As a worker would, a look after it got the job."""
            looks.append(1)
            if len(looks) % 3 == 0:
                platform.execute(
                    "UPDATE jobs SET state = 'RUNNING', attempts = 1 WHERE state = 'ASSIGNED'"
                )
                platform.finish(job_id)
            return look(job_id, using=using)

        monkeypatch.setattr(execution.orchestration, "look", runs)

        def judge(ended: Ran) -> None:
            assert ended.outcome == "COMPLETED", ended
            assert platform.rows("SELECT state, attempts FROM jobs") == [("SUCCEEDED", 1)]
            told = "SELECT count(*) FROM audit_logs WHERE event_type = 'JobExecuted'"
            assert platform.value(told) == 1

        crashes.everywhere("EXECUTION", judge, least=10, job_id=job)

    @pytest.mark.parametrize("failing", ["assign_worker", "execute"])
    def test_backward(
        self, platform: Platform, crashes: Crashes, job: uuid.UUID, failing: str
    ) -> None:
        def judge(ended: Ran) -> None:
            assert ended.outcome == "COMPENSATED", ended
            assert platform.state(job) == "MANUAL_INTERVENTION_REQUIRED"
            assert platform.place(job) == []

        crashes.everywhere("EXECUTION", judge, failing=failing, least=6, job_id=job)


class TestRecovery:
    def test_forward(self, platform: Platform, crashes: Crashes, old: uuid.UUID) -> None:
        job = platform.running_job(old)
        platform.silence(old)

        def judge(ended: Ran) -> None:
            new = worker_of(ended.id)
            assert ended.outcome == "COMPLETED", ended
            assert orchestration.look(job).held_by == new
            assert platform.rows("SELECT lost_leases FROM jobs") == [(1,)]
            assert platform.worker_state(old) == "TERMINATED"
            assert made(platform.folder) == [resource_of(new)]

        crashes.everywhere("RECOVERY", judge, least=20, job_id=job, worker_id=old)

    @pytest.mark.parametrize("failing", ["await_worker", "transfer_job"])
    def test_backward(
        self, platform: Platform, crashes: Crashes, old: uuid.UUID, failing: str
    ) -> None:
        job = platform.running_job(old)
        platform.silence(old)

        def judge(ended: Ran) -> None:
            assert ended.outcome == "COMPENSATED", ended
            assert orchestration.look(job).held_by == old
            assert platform.worker_state(worker_of(ended.id)) == "TERMINATED"
            assert made(platform.folder) == [resource_of(old)]

        crashes.everywhere("RECOVERY", judge, failing=failing, least=20, job_id=job, worker_id=old)


class TestTheRest:
    def test_cancellation(self, platform: Platform, crashes: Crashes) -> None:
        job = platform.enqueue()

        def judge(ended: Ran) -> None:
            assert ended.outcome == "COMPLETED", ended
            assert platform.state(job) == "CANCELLED"
            told = "SELECT count(*) FROM audit_logs WHERE event_type = 'JobCancelled'"
            assert platform.value(told) == 1

        crashes.everywhere("CANCELLATION", judge, least=8, job_id=job)

    def test_timeout(self, platform: Platform, crashes: Crashes, old: uuid.UUID) -> None:
        job = platform.running_job(old, timeout=timedelta(seconds=5))
        platform.execute(
            "UPDATE jobs SET started_at = now() - %s * interval '1 second'", [6 + GRACE_SECONDS]
        )
        platform.silence(old)

        def judge(ended: Ran) -> None:
            assert ended.outcome == "COMPLETED", ended
            assert (platform.state(job), platform.place(job)) == ("TIMEOUT", [])
            assert platform.worker_state(old) == "TERMINATED"
            assert platform.value("SELECT count(*) FROM job_failed_attempts") == 1

        crashes.everywhere("TIMEOUT", judge, least=8, job_id=job)

    def test_cleanup(self, platform: Platform, crashes: Crashes, old: uuid.UUID) -> None:
        workers.terminate(old, reason="r", actor=WHO)

        def judge(ended: Ran) -> None:
            assert ended.outcome == "COMPLETED", ended
            assert made(platform.folder) == []
            told = "SELECT count(*) FROM audit_logs WHERE event_type = 'WorkerCleanedUp'"
            assert platform.value(told) == 1

        crashes.everywhere("CLEANUP", judge, least=8, worker_id=old)
