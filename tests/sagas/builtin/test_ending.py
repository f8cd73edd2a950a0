"""CANCELLATION, TIMEOUT and CLEANUP."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from jobs.services import workers
from jobs.services.tokens import issue_token
from sagas.builtin.cancellation import SECONDS_TO_STOP
from sagas.builtin.infrastructure import resource_of, worker_of
from sagas.builtin.timeout import GRACE_SECONDS
from tests.sagas.builtin.conftest import WHO, Platform
from tests.sagas.builtin.fleet import asked, made


@pytest.fixture
def worker(platform: Platform) -> uuid.UUID:
    return worker_of(platform.run_saga("PROVISIONING", provider_id=platform.provider()))


class TestCancellation:
    def cancel(self, platform: Platform, job: uuid.UUID) -> uuid.UUID:
        return platform.run_saga("CANCELLATION", job_id=job, reason="not wanted")

    @pytest.mark.parametrize("orchestrated", [True, False])
    def test_one_that_waits_is_cancelled_at_once(
        self, platform: Platform, orchestrated: bool
    ) -> None:
        job = platform.enqueue(orchestrated=orchestrated)

        saga = self.cancel(platform, job)

        assert platform.outcome(saga) == "COMPLETED"
        assert (platform.state(job), platform.place(job)) == ("CANCELLED", [])
        assert platform.rows(
            "SELECT event_type, payload->>'reason' FROM audit_logs ORDER BY occurred_at"
        ) == [("JobCancelled", "not wanted"), ("JobStopped", "not wanted")]

    def test_one_that_runs_is_asked_and_waited_for(
        self, platform: Platform, worker: uuid.UUID
    ) -> None:
        job = platform.running_job(worker)

        saga = self.cancel(platform, job)
        assert platform.outcome(saga) is None
        assert platform.state(job) == "RUNNING"
        platform.finish(job, "CANCELLED")
        platform.hurry()
        platform.drive()

        assert platform.outcome(saga) == "COMPLETED"

    def test_a_worker_that_does_not_stop_it_loses_it(
        self, platform: Platform, worker: uuid.UUID
    ) -> None:
        job = platform.running_job(worker)
        saga = self.cancel(platform, job)
        platform.execute(
            "UPDATE job_leases SET cancel_requested_at = now() - %s * interval '1 second'",
            [SECONDS_TO_STOP + 1],
        )

        platform.hurry()
        platform.drive()

        assert platform.outcome(saga) == "COMPLETED"
        assert (platform.state(job), platform.place(job)) == ("CANCELLED", [])

    def test_one_that_has_ended_is_said(self, platform: Platform, worker: uuid.UUID) -> None:
        job = platform.running_job(worker)
        platform.finish(job)

        saga = self.cancel(platform, job)

        assert platform.outcome(saga) == "COMPENSATED"
        assert "is SUCCEEDED already" in platform.error(saga)


class TestTimeout:
    def overdue(self, platform: Platform, worker: uuid.UUID, seconds: float) -> uuid.UUID:
        job = platform.running_job(worker, timeout=timedelta(seconds=60))
        platform.execute(
            "UPDATE jobs SET started_at = now() - %s * interval '1 second'",
            [60 + seconds],
        )
        return job

    def test_a_run_that_nobody_ends_is_ended(self, platform: Platform, worker: uuid.UUID) -> None:
        job = self.overdue(platform, worker, GRACE_SECONDS + 1)

        saga = platform.run_saga("TIMEOUT", job_id=job)

        assert platform.outcome(saga) == "COMPLETED"
        assert (platform.state(job), platform.place(job)) == ("TIMEOUT", [])
        # It gives signs of life: it hangs in this one run, and goes on.
        assert platform.worker_state(worker) == "READY"

    @pytest.mark.parametrize("sign", ["gone", "silent"])
    def test_a_worker_that_is_gone_is_ended(
        self, platform: Platform, worker: uuid.UUID, sign: str
    ) -> None:
        job = self.overdue(platform, worker, GRACE_SECONDS + 1)
        if sign == "gone":
            (platform.folder / f"{resource_of(worker)}.worker").unlink()
        else:
            platform.silence(worker)

        saga = platform.run_saga("TIMEOUT", job_id=job)

        assert platform.outcome(saga) == "COMPLETED"
        assert platform.state(job) == "TIMEOUT"
        assert platform.worker_state(worker) == "TERMINATED"

    def test_its_worker_has_time_to_end_it_by_itself(
        self, platform: Platform, worker: uuid.UUID
    ) -> None:
        job = self.overdue(platform, worker, GRACE_SECONDS - 10)

        saga = platform.run_saga("TIMEOUT", job_id=job)

        assert platform.outcome(saga) == "COMPENSATED"
        assert platform.state(job) == "RUNNING"

    def test_one_that_may_run_for_ever_does(self, platform: Platform, worker: uuid.UUID) -> None:
        job = platform.running_job(worker)

        saga = platform.run_saga("TIMEOUT", job_id=job)

        assert platform.outcome(saga) == "COMPENSATED"
        assert "has no timeout" in platform.error(saga)


class TestCleanup:
    def test_what_an_ended_worker_left_goes(self, platform: Platform, worker: uuid.UUID) -> None:
        workers.terminate(worker, reason="r", actor=WHO)
        issue_token(worker, actor=WHO)
        assert made(platform.folder) == [resource_of(worker)]

        saga = platform.run_saga("CLEANUP", worker_id=worker)

        assert platform.outcome(saga) == "COMPLETED"
        assert made(platform.folder) == []
        assert platform.value("SELECT handle->>'destroyed' FROM workers") == "true"
        assert (
            platform.value(
                "SELECT count(*) FROM worker_bootstrap_tokens WHERE consumed_at IS NULL "
                "AND expires_at > clock_timestamp()"
            )
            == 0
        )

    def test_a_worker_that_lives_is_left_alone(self, platform: Platform, worker: uuid.UUID) -> None:
        saga = platform.run_saga("CLEANUP", worker_id=worker)

        assert platform.outcome(saga) == "COMPENSATED"
        assert "is READY" in platform.error(saga)
        assert made(platform.folder) == [resource_of(worker)]

    def test_it_tries_until_it_is_done(
        self, platform: Platform, worker: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tests.sagas.builtin.fleet import FleetProvider

        workers.terminate(worker, reason="r", actor=WHO)
        with monkeypatch.context() as patched:
            patched.setattr(FleetProvider, "destroy", _cannot)
            saga = platform.run_saga("CLEANUP", worker_id=worker)
            assert platform.outcome(saga) is None

        platform.hurry()
        platform.drive()

        assert platform.outcome(saga) == "COMPLETED"
        assert ("destroy", resource_of(worker)) in asked(platform.folder)


def _cannot(*_given: object) -> None:
    raise OSError("the yard does not answer")
