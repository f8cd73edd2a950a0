"""Results of tasks, whatever became of them."""

from __future__ import annotations

import uuid

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from hodei.compat import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
)
from hodei.sessions import connect
from jobs import leases, retry, task_results
from jobs.services import lifecycle
from jobs.states import JobState
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.processes import eventually


class TestResults:
    def test_of_a_success(self, tasks: Jobs) -> None:
        before = examples.add.enqueue(1, right=2)
        tasks.drain()
        result = task_backends["default"].get_result(before.id)

        assert result.status == TaskResultStatus.SUCCESSFUL
        assert (result.return_value, result.is_finished, result.errors) == (3, True, [])
        assert result.task == examples.add
        assert (result.args, result.kwargs, result.backend) == ([1], {"right": 2}, "default")
        assert result.attempts == 1
        assert result.worker_ids == [str(tasks.value("SELECT id FROM workers"))]
        assert result.enqueued_at <= result.started_at <= result.finished_at
        assert result.last_attempted_at == result.started_at

    def test_in_one_query(self, tasks: Jobs) -> None:
        result = examples.fail.enqueue()
        tasks.drain()

        with CaptureQueriesContext(connections["default"]) as queries:
            result.refresh()
        assert len(queries) == 1

    def test_of_a_failure(self, tasks: Jobs) -> None:
        result = examples.fail.enqueue("why")
        tasks.drain()
        result.refresh()

        assert result.status == TaskResultStatus.FAILED
        (error,) = result.errors
        assert error.exception_class is examples.Unlucky
        assert "Unlucky: why" in error.traceback
        with pytest.raises(ValueError, match="Task failed"):
            _ = result.return_value

    def test_of_runs_that_failed_before(self, tasks: Jobs) -> None:
        result = examples.fail_twice.enqueue()
        assert eventually(lambda: bool(tasks.drain() or result.refresh() or result.is_finished))

        assert (result.return_value, result.attempts) == ("at last", 3)
        assert [
            error.traceback.splitlines()[-1].rpartition(": ")[2] for error in result.errors
        ] == [
            "attempt 1",
            "attempt 2",
        ]
        assert len(set(result.worker_ids)) >= 1
        assert result.started_at < result.last_attempted_at <= result.finished_at

    def test_while_it_waits_to_be_tried_again(self, tasks: Jobs) -> None:
        result = examples.ask_for_retry.enqueue(3600)
        tasks.drain()
        result.refresh()

        assert result.status == TaskResultStatus.READY
        assert (result.attempts, len(result.errors), result.finished_at) == (1, 1, None)

    @pytest.mark.parametrize(
        ("starting", "ending"), [(0, "returned"), (2, "returned"), (0, "lost")]
    )
    def test_of_a_claim_that_did_not_begin(self, tasks: Jobs, starting: int, ending: str) -> None:
        """It is as it was: one that has not run yet, and one that waits for another run."""
        failed = examples.ask_for_retry.enqueue(3600)
        tasks.drain()
        failed.refresh()
        before = (failed.worker_ids, failed.started_at, failed.last_attempted_at)
        tasks.execute("UPDATE job_queue_deferred SET run_after = now()")
        new = examples.add.enqueue(1)

        with connect("default", "test") as session:
            leases.promote(session)
            held = leases.claim(session, uuid.uuid4(), ["default"], 2, starting=starting)
            if ending == "returned":
                leases.finish(session, [retry.returned(job) for job in held])
            else:
                tasks.execute("UPDATE job_leases SET expires_at = '-infinity'")
                leases.rescue(session)
        new.refresh()
        failed.refresh()

        assert new.status == failed.status == TaskResultStatus.READY
        assert (new.worker_ids, new.started_at, new.last_attempted_at) == ([], None, None)
        assert (failed.worker_ids, failed.started_at, failed.last_attempted_at) == before
        assert (len(held), len(failed.errors)) == (2, 1)

    def test_while_it_runs(self, tasks: Jobs) -> None:
        examples.tell.enqueue(1, a=2)
        tasks.drain()

        found = tasks.rows(
            "SELECT result ->> 'status', result ->> 'attempt', id::text = result ->> 'id', "
            "result ->> 'workers', result ->> 'args' FROM jobs"
        )
        assert found == [("RUNNING", "1", True, "1", "[1]")]

    def test_of_one_that_was_cancelled(self, tasks: Jobs) -> None:
        result = examples.add.enqueue(1)
        lifecycle.cancel(uuid.UUID(result.id), reason="enough", actor="me")
        result.refresh()

        assert result.status == TaskResultStatus.FAILED
        (error,) = result.errors
        assert error.exception_class.__name__ == "JobCancelled"
        assert error.traceback == "Cancelled by me: enough"
        assert (result.attempts, result.started_at) == (0, None)

    def test_of_one_whose_time_was_over(self, tasks: Jobs) -> None:
        result = examples.wait_for_ever.enqueue()
        tasks.drain()
        result.refresh()

        assert result.status == TaskResultStatus.FAILED
        assert result.errors[0].exception_class is TimeoutError

    def test_of_one_whose_worker_vanished(self, tasks: Jobs) -> None:
        from hodei.sessions import connect
        from jobs import leases

        result = examples.add.enqueue(1)
        with connect("default", "test") as session:
            leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1, seconds=-1)
            leases.rescue(session)
        tasks.drain()
        result.refresh()

        assert result.return_value == 1
        assert result.errors[0].exception_class.__name__ == "RunLost"
        assert result.attempts == 2

    def test_every_state_is_one_of_django_s(self) -> None:
        assert set(task_results.STATUSES) == set(JobState)

    @pytest.mark.parametrize("job_id", ["", "123", "x" * 64, f"{uuid.UUID(int=7)}", "\0", "%s"])
    def test_of_nothing_do_not_exist(self, tasks: Jobs, job_id: str) -> None:
        with pytest.raises(TaskResultDoesNotExist):
            task_backends["default"].get_result(job_id)
        with pytest.raises(TaskResultDoesNotExist):
            examples.add.get_result(job_id)

    def test_of_a_job_that_is_no_task_do_not_exist(self, tasks: Jobs) -> None:
        result = examples.add.enqueue(1)
        tasks.execute("UPDATE jobs SET spec = '{\"command\": {}}'")

        with pytest.raises(TaskResultDoesNotExist, match="runs no task"):
            result.refresh()

    def test_of_a_task_that_is_gone_say_so(self, tasks: Jobs) -> None:
        result = examples.add.enqueue(1)
        tasks.execute("UPDATE jobs SET spec = replace(spec::text, '.add', '.gone')::jsonb")

        with pytest.raises(InvalidTask, match=r"example_tasks\.gone', which cannot be imported"):
            result.refresh()

    def test_of_another_task_are_refused(self, tasks: Jobs) -> None:
        result = examples.add.enqueue(1)

        assert examples.add.get_result(result.id).id == result.id
        with pytest.raises(TaskResultMismatch, match=r"example_tasks\.add"):
            examples.fail.get_result(result.id)

    def test_have_the_queue_and_priority_they_were_enqueued_with(self, tasks: Jobs) -> None:
        result = examples.add.using(priority=3).enqueue(1)

        assert examples.add.get_result(result.id).task.priority == 3
