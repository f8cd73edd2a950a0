"""The backend as Django tests its own: whatever their API has, of every version."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from hodei.compat import (
    TASKS_LOGGER,
    BaseTaskBackend,
    InvalidTaskBackend,
    Task,
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
)
from jobs.backend import JobsBackend
from jobs.context import JobContext
from jobs.tasks import JobTask, task
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs

#: What each class has that is for everybody. Ours has it all: what comes with another version is
#: seen here first.
API: dict[type, set[str]] = {
    BaseTaskBackend: {
        *("aenqueue", "aget_result", "check", "enqueue", "get_result", "task_class"),
        *("supports_async_task", "supports_defer", "supports_get_result", "supports_priority"),
        "validate_task",
    },
    Task: {
        *("acall", "aenqueue", "aget_result", "backend", "call", "enqueue", "func", "get_backend"),
        *("get_result", "module_path", "name", "priority", "queue_name", "run_after"),
        *("takes_context", "using"),
    },
    TaskResult: {
        *("arefresh", "args", "attempts", "backend", "enqueued_at", "errors", "finished_at", "id"),
        *("is_finished", "kwargs", "last_attempted_at", "refresh", "return_value", "started_at"),
        *("status", "task", "worker_ids"),
    },
    TaskContext: {"attempt", "task_result"},
    TaskError: {"exception_class", "exception_class_path", "traceback"},
}


@pytest.mark.parametrize("kind", API, ids=lambda kind: kind.__name__)
def test_the_api_is_what_is_tested(kind: type) -> None:
    assert {name for name in dir(kind) if not name.startswith("_")} == API[kind]


def test_ours_has_it_all() -> None:
    for ours, theirs in (
        (JobsBackend, BaseTaskBackend),
        (JobTask, Task),
        (JobContext, TaskContext),
    ):
        assert issubclass(ours, theirs)
        assert API[theirs] <= set(dir(ours))
    for name in ("enqueue", "get_result", "validate_task", "check"):
        assert getattr(JobsBackend, name) is not getattr(BaseTaskBackend, name)
    assert {status.name for status in TaskResultStatus} == {
        *("READY", "RUNNING", "FAILED", "SUCCESSFUL"),
    }


class TestResults:
    @pytest.mark.parametrize("given", [examples.add, examples.add_later], ids=["sync", "async"])
    def test_one_that_is_read_is_the_one_that_was_returned(
        self, tasks: Jobs, given: JobTask
    ) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        for one in (given, given.using(priority=7), given.using(run_after=later)):
            result = one.enqueue(1, right=2)

            assert result.task == one
            assert result == given.get_result(result.id)
            assert result == task_backends["default"].get_result(result.id)

    def test_so_it_is_async(self, tasks: Jobs) -> None:
        async def look() -> None:
            result = await examples.add.aenqueue(1)
            assert result == await examples.add.aget_result(result.id)
            assert result == await task_backends["default"].aget_result(result.id)
            with pytest.raises(TaskResultDoesNotExist):
                await examples.add.aget_result("123")
            with pytest.raises(TaskResultMismatch):
                await examples.fail.aget_result(result.id)

        async_to_sync(look)()

    def test_a_refresh_changes_what_has_changed(self, tasks: Jobs) -> None:
        result = examples.add.enqueue(1, right=2)
        before = dataclasses.asdict(result)
        result.refresh()
        assert dataclasses.asdict(result) == before
        tasks.drain()

        async_to_sync(result.arefresh)()

        changed = {key for key, value in dataclasses.asdict(result).items() if value != before[key]}
        assert changed == {
            *("status", "started_at", "last_attempted_at", "finished_at", "worker_ids"),
            "_return_value",
        }

    def test_an_error_has_its_class_and_traceback(self, tasks: Jobs) -> None:
        result = examples.fail.enqueue()
        tasks.drain()
        result.refresh()

        (error,) = result.errors
        assert issubclass(error.exception_class, Exception)
        assert error.exception_class.__name__ in error.traceback
        with pytest.raises(ValueError, match="failed"):
            _ = result.return_value

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="results can be pickled from 6.1 on")
    def test_they_can_be_pickled(self, tasks: Jobs) -> None:
        result = examples.add.enqueue(1)

        assert pickle.loads(pickle.dumps(result)) == result

    def test_enqueueing_is_logged_by_django(self, tasks: Jobs, caplog: Any) -> None:
        with caplog.at_level("DEBUG", logger=TASKS_LOGGER):
            result = examples.add.enqueue(1)

        assert "enqueued" in caplog.text
        assert result.id in caplog.text


class TestUsing:
    def test_makes_another_one_that_is_equal(self) -> None:
        same = examples.add.using()

        assert same == examples.add
        assert same is not examples.add

    def test_changes_add_up(self) -> None:
        later = datetime(2040, 1, 1, tzinfo=UTC)
        changed = examples.add.using(run_after=later).using(priority=10)

        assert (changed.run_after, changed.priority) == (later, 10)
        assert examples.add.run_after is None

    @pytest.mark.parametrize("priority", [-100, 0, 100])
    def test_priorities_have_ends(self, priority: int) -> None:
        assert examples.add.using(priority=priority).priority == priority

    def test_a_backend_that_is_not_there(self) -> None:
        with pytest.raises(InvalidTaskBackend, match="'unknown'"):
            examples.add.using(backend="unknown")
        with (
            override_settings(
                TASKS={
                    "default": {"BACKEND": "jobs.backend.JobsBackend"},
                    "missing": {"BACKEND": "does.not.exist"},
                }
            ),
            pytest.raises(InvalidTaskBackend, match=r"does\.not\.exist"),
        ):
            examples.add.using(backend="missing")

    def test_of_no_backends(self) -> None:
        with override_settings(TASKS={}), pytest.raises(InvalidTaskBackend):
            examples.add.enqueue(1)

    def test_the_decorator_takes_no_time(self) -> None:
        with pytest.raises(TypeError, match="run_after"):
            task(run_after=datetime.now(UTC))(examples.plain)
