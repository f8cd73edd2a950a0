"""A worker that sleeps, or runs something and has room for more: it hears at once of what is new,
and of its end. Nobody here waits for a poll."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hodei.polling import Pace
from jobs import rescuer
from jobs.worker import Worker
from tests.jobs import executors
from tests.jobs.conftest import Jobs
from tests.jobs.kit import running
from tests.processes import eventually

#: Longer than a test may take: what waits for that fails.
NEVER = 300.0


def patient(jobs: Jobs, **options: Any) -> Worker:
    """One that does not look again by itself, once it has found nothing."""
    worker = jobs.worker(**options)
    worker._pace = Pace(shortest=NEVER, longest=NEVER)
    return worker


def rests(worker: Worker) -> bool:
    """Whether it has found nothing, and waits now for something to happen."""
    return worker._pace._pause == NEVER


def busy(jobs: Jobs, worker: Worker) -> None:
    """One of its slots runs something, and the worker rests."""
    jobs.enqueue(1, "wait")
    assert executors.began.wait(30)
    assert eventually(lambda: rests(worker))


def test_a_new_job_is_begun_at_once_while_another_runs(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescuer, "LOOK_SECONDS", NEVER)
    worker = patient(jobs, concurrency=2)
    with running(worker):
        busy(jobs, worker)
        jobs.enqueue(2)

        assert eventually(lambda: executors.ran == [1, 2])


def test_while_a_job_runs_one_that_goes_back_at_once_is_run_again(jobs: Jobs) -> None:
    worker = patient(jobs, concurrency=2)
    with running(worker):
        busy(jobs, worker)
        again = jobs.enqueue(2, "fail", retry_in=0.0, max_attempts=3)

        assert eventually(lambda: jobs.state(again) == "FAILED")
        assert executors.ran == [1, 2, 2, 2]


@pytest.mark.parametrize("concurrency", [1, 2])
def test_what_is_due_is_promoted_while_a_job_runs(jobs: Jobs, concurrency: int) -> None:
    worker = patient(jobs, concurrency=concurrency)
    with running(worker):
        busy(jobs, worker)
        due = jobs.enqueue(2, run_after=datetime.now(UTC) + timedelta(seconds=0.2))

        assert eventually(lambda: jobs.place(due) != ["job_queue_deferred"])


def test_asleep_it_ends_at_once_when_it_is_told(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescuer, "LOOK_SECONDS", NEVER)
    worker = patient(jobs)
    with running(worker) as thread:
        assert eventually(lambda: rests(worker))
        worker.stop.set()

        thread.join(20)
        assert not thread.is_alive()


def test_told_to_end_it_returns_at_once_what_has_not_begun(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescuer, "LOOK_SECONDS", NEVER)
    worker = patient(jobs)
    jobs.enqueue(1, "wait")
    behind = jobs.enqueue(2)
    with running(worker):
        assert executors.began.wait(30)
        assert eventually(lambda: rests(worker))
        assert jobs.place(behind) == ["job_leases"]
        worker.stop.set()

        assert eventually(lambda: jobs.place(behind) == ["job_queue"], 10)
        assert executors.ran == [1]
