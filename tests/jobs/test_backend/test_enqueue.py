"""Calls of tasks, as they are stored."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from hodei.compat import (
    InvalidTask,
    TaskResultStatus,
    signals,
    task_backends,
)
from jobs.backend import JobsBackend
from jobs.spec import JobInvalid
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.jobs.test_backend.kit import HERE, Heard, listening


class TestEnqueue:
    def test_stores_a_job(self, tasks: Jobs) -> None:
        result = examples.add.enqueue(1, right=2)

        assert result.status == TaskResultStatus.READY
        assert (result.args, result.kwargs, result.backend) == ([1], {"right": 2}, "default")
        assert (result.errors, result.worker_ids, result.attempts) == ([], [], 0)
        assert (result.started_at, result.finished_at, result.last_attempted_at) == (None,) * 3
        assert result.enqueued_at is not None
        assert result.is_finished is False
        with pytest.raises(ValueError, match="not finished"):
            _ = result.return_value
        assert tasks.rows(
            "SELECT id::text, state, name, queue, priority, max_attempts, timeout FROM jobs"
        ) == [(result.id, "PENDING", f"{HERE}.add", "default", 0, 3, None)]

    def test_in_one_round_trip(self, tasks: Jobs) -> None:
        with CaptureQueriesContext(connections["default"]) as queries:
            examples.add.enqueue(1)

        assert len(queries) == 1

    def test_with_the_task_s_options(self, tasks: Jobs) -> None:
        later = datetime(2040, 1, 1, tzinfo=UTC)
        examples.ignore_the_time.using(priority=-5, run_after=later).enqueue()

        assert tasks.rows("SELECT priority, run_after, max_attempts, timeout FROM jobs") == [
            (-5, later, 1, timedelta(seconds=0.3))
        ]
        assert tasks.value("SELECT count(*) FROM job_queue_deferred") == 1

    def test_with_the_backend_s_options(self, tasks: Jobs, settings: Any) -> None:
        settings.TASKS = {
            "default": {
                "BACKEND": "jobs.backend.JobsBackend",
                "OPTIONS": {"MAX_ATTEMPTS": 9, "TIMEOUT": 60},
            }
        }
        examples.add.enqueue(1)

        assert tasks.rows("SELECT max_attempts, timeout FROM jobs") == [(9, timedelta(minutes=1))]

    def test_vanishes_with_the_transaction(self, tasks: Jobs) -> None:
        with transaction.atomic():
            examples.add.enqueue(1)
            transaction.set_rollback(True)

        assert tasks.value("SELECT count(*) FROM jobs") == 0
        assert tasks.drain() == []

    @pytest.mark.parametrize(
        ("args", "error"),
        [
            (({1, 2},), TypeError),
            ((object(),), TypeError),
            ((datetime.now(UTC),), TypeError),
            ((b"\xff",), ValueError),
            (("\0",), JobInvalid),
            (("\ud800",), JobInvalid),
            ((float("nan"),), JobInvalid),
            (("x" * 2**20,), JobInvalid),
        ],
    )
    def test_arguments_that_cannot_be_stored_are_refused(
        self, tasks: Jobs, args: Any, error: type[Exception]
    ) -> None:
        with transaction.atomic():
            with pytest.raises(error):
                examples.return_this.enqueue(*args)
            # And the caller's transaction is as it was.
            assert tasks.value("SELECT count(*) FROM jobs") == 0

    def test_arguments_are_normalised(self, tasks: Jobs) -> None:
        result = examples.return_this.enqueue((1, b"two"))

        assert result.args == [[1, "two"]]
        assert tasks.value("SELECT spec -> 'python' -> 'args' FROM jobs") == '[[1, "two"]]'

    def test_a_task_at_another_path_than_its_function_is_refused(self, tasks: Jobs) -> None:
        with pytest.raises(InvalidTask, match=r"_hidden', which is no task"):
            examples.renamed.enqueue(1)

    def test_async(self, tasks: Jobs) -> None:
        async def enqueue() -> str:
            result = await examples.add_later.aenqueue(1, right=2)
            assert (await examples.add_later.aget_result(result.id)).id == result.id
            return str(result.id)

        found = async_to_sync(enqueue)()
        tasks.drain()

        async def look() -> Any:
            result = await task_backends["default"].aget_result(found)
            await result.arefresh()
            return result.return_value

        assert async_to_sync(look)() == 3

    def test_naive_times_are_the_project_s_without_use_tz(self, tasks: Jobs, settings: Any) -> None:
        settings.USE_TZ = False
        settings.TIME_ZONE = "Europe/Madrid"
        examples.add.using(run_after=datetime(2040, 7, 1, 12)).enqueue(1)  # noqa: DTZ001

        assert tasks.value("SELECT run_after = '2040-07-01 10:00+00' FROM jobs")

    def test_the_database_is_the_router_s(self, tasks: Jobs, settings: Any) -> None:
        settings.DATABASE_ROUTERS = [f"{__name__}.Elsewhere"]

        with pytest.raises(Exception, match="elsewhere"):
            examples.add.enqueue(1)
        with pytest.raises(Exception, match="elsewhere"):
            task_backends["default"].get_result(str(uuid.uuid4()))


class Elsewhere:
    def db_for_write(self, model: Any, **_: Any) -> str:
        return "elsewhere"


class TestUniqueKey:
    def test_a_second_call_is_the_first_one(self, tasks: Jobs) -> None:
        heard = Heard()
        with listening(signals.task_enqueued, heard):
            first = examples.only_once.enqueue(7)
            second = examples.only_once.enqueue(7, loud=True)
            other = examples.only_once.enqueue(8)

        assert first.id == second.id != other.id
        assert second.kwargs == {}
        assert [result.id for _, result in heard.calls] == [first.id, other.id]
        tasks.drain()
        assert examples.only_once.enqueue(7).return_value == 7

    def test_keys_of_two_tasks_do_not_meet(self, tasks: Jobs) -> None:
        examples.only_once_by_name.enqueue(1, name="number 7")
        examples.only_once.enqueue(7)

        assert tasks.value("SELECT count(*) FROM jobs") == 2

    @pytest.mark.parametrize(
        ("given", "args", "words"),
        [
            (examples.only_once, (), "does not fit its arguments (IndexError"),
            (examples.without_a_key, (), "gave None; it gives a text"),
        ],
    )
    def test_a_key_that_cannot_be_made_is_refused(
        self, tasks: Jobs, given: Any, args: Any, words: str
    ) -> None:
        with pytest.raises(InvalidTask) as caught:
            given.enqueue(*args)

        assert words in str(caught.value)
        assert tasks.value("SELECT count(*) FROM jobs") == 0


class TestEnqueueMany:
    def test_stores_calls_of_any_tasks(self, tasks: Jobs) -> None:
        backend = task_backends["default"]
        assert isinstance(backend, JobsBackend)

        counts = backend.enqueue_many(
            [(examples.add, [n], {}) for n in range(5)] + [(examples.only_once, [1], {})] * 2
        )

        assert (counts.enqueued, counts.known) == (6, 1)
        tasks.drain()
        assert tasks.rows("SELECT DISTINCT state FROM jobs") == [("SUCCEEDED",)]

    def test_all_or_none(self, tasks: Jobs) -> None:
        backend = task_backends["default"]
        assert isinstance(backend, JobsBackend)

        with pytest.raises(InvalidTask, match="Job 1 of this call"):
            backend.enqueue_many([(examples.add, [1], {}), (examples.renamed, [1], {})])
        with pytest.raises(JobInvalid, match="Job 1 of this call"):
            backend.enqueue_many([(examples.add, [1], {}), (examples.add, ["\0"], {})])
        assert tasks.value("SELECT count(*) FROM jobs") == 0
