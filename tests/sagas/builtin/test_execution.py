"""EXECUTION: an orchestrated job is leased to a worker, and run until it has ended."""

from __future__ import annotations

import uuid

import pytest

from jobs.services import lifecycle, orchestration, workers
from jobs.services.orchestration import Look
from jobs.states import JobState
from sagas.builtin.cancellation import SECONDS_TO_STOP
from sagas.builtin.execution import pause, stop_job, take_back
from sagas.definition import StepContext
from sagas.services.start import start
from tests.sagas.builtin.conftest import WHO, Platform


def begin(platform: Platform, job: uuid.UUID) -> uuid.UUID:
    saga = start("EXECUTION", {"job_id": str(job)}, key=str(job), actor=WHO)
    platform.drive()
    return saga


def again(platform: Platform) -> None:
    platform.hurry()
    platform.drive()


def run(platform: Platform, job: uuid.UUID) -> None:
    """As its worker begins it."""
    platform.execute(
        "UPDATE jobs SET state = 'RUNNING', attempts = attempts + 1, started_at = now() "
        "WHERE id = %s AND state = 'ASSIGNED'",
        [job],
    )


def test_it_waits_for_a_worker_and_then_for_the_end(platform: Platform) -> None:
    job = platform.enqueue(orchestrated=True)
    saga = begin(platform, job)
    assert platform.outcome(saga) is None
    assert platform.state(job) == "PENDING"

    worker = platform.ready_worker()
    again(platform)
    assert platform.state(job) == "ASSIGNED"
    assert orchestration.look(job).held_by == worker

    run(platform, job)
    again(platform)
    assert platform.outcome(saga) is None
    platform.finish(job)
    again(platform)

    assert platform.outcome(saga) == "COMPLETED"
    assert platform.output(saga, "complete_job")["state"] == "SUCCEEDED"
    assert platform.value("SELECT count(*) FROM audit_logs WHERE event_type = 'JobExecuted'") == 1


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "TIMEOUT"])
def test_a_job_that_ends_badly_has_ended(platform: Platform, state: str) -> None:
    job = platform.enqueue(orchestrated=True)
    platform.ready_worker()
    saga = begin(platform, job)
    run(platform, job)
    platform.finish(job, state)

    again(platform)

    assert platform.outcome(saga) == "COMPLETED"
    assert platform.output(saga, "execute")["state"] == state


def test_a_run_that_failed_is_leased_anew(platform: Platform) -> None:
    job = platform.enqueue(orchestrated=True)
    platform.ready_worker()
    begin(platform, job)
    run(platform, job)
    platform.execute("DELETE FROM job_leases")
    platform.execute("UPDATE jobs SET state = 'PENDING'")

    again(platform)

    assert platform.state(job) == "ASSIGNED"


def test_one_whose_worker_was_lost_is_leased_to_another_that_is_there(platform: Platform) -> None:
    job = platform.enqueue(orchestrated=True)
    lost = platform.ready_worker()
    begin(platform, job)
    other = platform.ready_worker()
    workers.terminate(lost, reason="gone", actor=WHO)

    again(platform)

    assert orchestration.look(job).held_by == other


def test_it_leaves_to_recovery_what_recovery_is_at(platform: Platform) -> None:
    job = platform.enqueue(orchestrated=True)
    lost = platform.ready_worker()
    begin(platform, job)
    platform.ready_worker()
    workers.terminate(lost, reason="gone", actor=WHO)
    start("RECOVERY", {}, key=str(lost))
    platform.execute("UPDATE sagas SET pause_requested_at = now() WHERE saga_type = 'RECOVERY'")

    again(platform)

    assert orchestration.look(job).held_by is None


@pytest.mark.parametrize(
    ("job_id", "words"),
    [("me", "is 'me'; it is a uuid"), (str(uuid.UUID(int=0)), "There is no job")],
)
def test_what_is_no_job_is_said(platform: Platform, job_id: str, words: str) -> None:
    saga = platform.run_saga("EXECUTION", job_id=job_id)

    assert platform.outcome(saga) == "COMPENSATED"
    assert words in platform.error(saga)


def test_a_job_of_the_queue_is_run_from_the_queue(platform: Platform) -> None:
    job = platform.enqueue()

    saga = begin(platform, job)

    assert platform.outcome(saga) == "COMPENSATED"
    assert (platform.state(job), platform.place(job)) == ("PENDING", ["job_queue"])


def test_a_job_that_was_held_is_left_to_a_person(platform: Platform) -> None:
    job = platform.enqueue(orchestrated=True)
    saga = begin(platform, job)
    lifecycle.hold(job, reason="look at it", actor=WHO)

    again(platform)

    assert platform.outcome(saga) == "COMPLETED"
    assert platform.state(job) == "MANUAL_INTERVENTION_REQUIRED"
    assert platform.value("SELECT count(*) FROM audit_logs WHERE event_type = 'JobExecuted'") == 0


class TestTurnedBack:
    def cancel(self, platform: Platform) -> None:
        platform.execute("UPDATE sagas SET cancel_requested_at = now(), due_at = now()")
        platform.drive()

    def test_while_it_waits_for_a_worker(self, platform: Platform) -> None:
        job = platform.enqueue(orchestrated=True)
        saga = begin(platform, job)

        self.cancel(platform)

        assert platform.outcome(saga) == "CANCELLED"
        assert platform.state(job) == "MANUAL_INTERVENTION_REQUIRED"

    def test_what_has_not_begun_is_taken_back(self, platform: Platform) -> None:
        job = platform.enqueue(orchestrated=True)
        platform.ready_worker()
        saga = begin(platform, job)

        self.cancel(platform)

        assert platform.outcome(saga) == "CANCELLED"
        assert (platform.state(job), platform.place(job)) == ("MANUAL_INTERVENTION_REQUIRED", [])

    def test_what_runs_is_stopped(self, platform: Platform) -> None:
        job = platform.enqueue(orchestrated=True)
        platform.ready_worker()
        saga = begin(platform, job)
        run(platform, job)

        self.cancel(platform)
        assert platform.outcome(saga) is None
        assert platform.value("SELECT cancel_requested_at IS NOT NULL FROM job_leases")
        platform.finish(job, "CANCELLED")
        again(platform)

        assert platform.outcome(saga) == "CANCELLED"
        assert platform.state(job) == "CANCELLED"

    def test_a_worker_that_does_not_stop_it_loses_it(self, platform: Platform) -> None:
        job = platform.enqueue(orchestrated=True)
        platform.ready_worker()
        saga = begin(platform, job)
        run(platform, job)
        self.cancel(platform)
        again(platform)
        assert platform.outcome(saga) is None
        platform.execute(
            "UPDATE job_leases SET cancel_requested_at = now() - %s * interval '1 second'",
            [SECONDS_TO_STOP + 1],
        )

        again(platform)
        again(platform)

        assert platform.outcome(saga) == "CANCELLED"
        assert (platform.state(job), platform.place(job)) == ("CANCELLED", [])
        asked = "SELECT count(*) FROM audit_logs WHERE event_type = 'JobCancelRequested'"
        assert platform.value(asked) == 1

    def context(self, job: uuid.UUID) -> StepContext:
        return StepContext(
            saga_id=uuid.uuid4(),
            kind="EXECUTION",
            step="execute",
            input={"job_id": str(job)},
            outputs={},
            key="k",
            lease_epoch=1,
            attempt=1,
        )

    def test_what_was_not_to_be_stopped_cannot_begin_any_more(self, platform: Platform) -> None:
        """Its worker could begin it between two of the compensations."""
        job = platform.enqueue(orchestrated=True)
        platform.ready_worker()
        begin(platform, job)
        assert platform.state(job) == "ASSIGNED"

        stop_job(self.context(job))
        run(platform, job)

        assert platform.state(job) == "PENDING"

    def test_what_begins_at_that_moment_is_stopped(self, platform: Platform) -> None:
        job = platform.enqueue(orchestrated=True)
        platform.ready_worker()
        begin(platform, job)
        run(platform, job)

        take_back(self.context(job))

        assert platform.state(job) == "RUNNING"
        assert platform.value("SELECT cancel_requested_at IS NOT NULL FROM job_leases")


@pytest.mark.parametrize(
    ("running_for", "seconds"), [(None, 0.3), (1.0, 0.3), (10.0, 1.0), (3600.0, 5.0)]
)
def test_the_longer_it_runs_the_longer_the_pauses(
    running_for: float | None, seconds: float
) -> None:
    job = Look(
        state=JobState.RUNNING,
        orchestrated=True,
        queue="default",
        is_due=True,
        held_by=None,
        worker_id=None,
        running_for=running_for,
        timeout=None,
        stopping_for=None,
        error=None,
        correlation_id=None,
    )
    assert pause(job) == seconds
