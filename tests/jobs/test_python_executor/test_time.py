from __future__ import annotations

from datetime import timedelta

import pytest

from jobs.services import lifecycle
from jobs.services.queue import enqueue
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.jobs.test_python_executor.kit import failures, python, running
from tests.processes import eventually


class TestTime:
    """Limits, and what becomes of those who do not keep them."""

    def test_a_thread_is_given_up_and_keeps_its_slot(self, tasks: Jobs) -> None:
        job = enqueue(
            spec=python("ignore_the_time"), timeout=timedelta(seconds=0.3), max_attempts=1
        )
        worker = tasks.worker()
        with running(worker):
            assert eventually(lambda: tasks.state(job.id) == "TIMEOUT")
            assert tasks.place(job.id) == []
            other = examples.add.enqueue(1)
            assert tasks.place(other.id) == ["job_queue"]

            examples.go_on.set()
            assert eventually(lambda: other.refresh() or other.is_finished)

        assert examples.noted == ["returned", (1, 0)]
        assert tasks.rows("SELECT state, result FROM jobs WHERE id = %s", [job.id]) == [
            ("TIMEOUT", None)
        ]
        assert failures(tasks)[0][0] == "ExecutionTimeout"

    def test_a_drain_does_not_wait_for_a_thread_that_was_given_up(self, tasks: Jobs) -> None:
        result = examples.ignore_the_time.enqueue()
        tasks.drain()

        assert tasks.state(result.id) == "TIMEOUT"  # type: ignore[arg-type]
        assert examples.noted == []

    def test_jobs_that_wait_behind_it_go_back(self, tasks: Jobs) -> None:
        for _ in range(3):
            examples.ignore_the_time.enqueue()
        examples.add.enqueue(1)
        worker = tasks.worker(concurrency=2, lease_seconds=1.0)
        with running(worker):
            assert eventually(
                lambda: tasks.value("SELECT count(*) FROM jobs WHERE state = 'TIMEOUT'") == 2
            )
            assert eventually(lambda: tasks.value("SELECT count(*) FROM job_queue") == 2)
            assert tasks.value("SELECT count(*) FROM job_leases") == 0

    @pytest.mark.parametrize(
        ("task", "noted"),
        [("wait_without_limit", "cleaned up"), ("wait_until_stopped", "stopped")],
        ids=["async, it is cancelled", "sync, it is told"],
    )
    def test_a_task_that_runs_is_stopped(self, tasks: Jobs, task: str, noted: str) -> None:
        result = getattr(examples, task).enqueue()
        worker = tasks.worker()
        with running(worker):
            assert examples.began.wait(30)
            lifecycle.cancel(result.id, reason="enough", actor="me")
            worker._finisher.look_for_cancels()
            assert eventually(lambda: tasks.state(result.id) == "CANCELLED")

        assert examples.noted == [noted]

    def test_a_worker_that_stops_at_once_cancels_and_writes_nothing(self, tasks: Jobs) -> None:
        result = examples.wait_without_limit.enqueue()
        worker = tasks.worker()
        with running(worker):
            assert examples.began.wait(30)
            worker.stop_now()

        assert examples.noted == ["cleaned up"]
        assert tasks.state(result.id) == "RUNNING"
