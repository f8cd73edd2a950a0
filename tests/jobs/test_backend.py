"""The backend by the API of ``django.tasks``: every attribute and method, and what ours has
besides. On Django 5.2 by the backport."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.core import checks
from django.db import connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from hodei.compat import (
    TASKS_LOGGER,
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    signals,
    task_backends,
)
from jobs import task_results
from jobs.backend import JobsBackend
from jobs.services import lifecycle
from jobs.spec import JobInvalid
from jobs.states import JobState
from jobs.tasks import JobTask, task
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.processes import eventually

HERE = "tests.jobs.example_tasks"


@contextmanager
def listening(signal: Any, receiver: Any, sender: Any = None) -> Iterator[None]:
    signal.connect(receiver, sender=sender, weak=False)
    try:
        yield
    finally:
        assert signal.disconnect(receiver, sender=sender)


class Heard:
    """A receiver that remembers."""

    def __init__(self, raises: BaseException | None = None) -> None:
        self.raises = raises
        self.calls: list[tuple[Any, Any]] = []

    def __call__(self, sender: Any, task_result: Any, **_: Any) -> None:
        self.calls.append((sender, task_result))
        if self.raises is not None:
            raise self.raises


class TestBackend:
    def test_what_it_supports(self) -> None:
        backend = task_backends["default"]

        assert isinstance(backend, JobsBackend)
        assert isinstance(backend, BaseTaskBackend)
        assert (backend.alias, backend.queues, backend.options) == ("default", {"default"}, {})
        assert backend.task_class is JobTask
        assert backend.supports_defer is True
        assert backend.supports_async_task is True
        assert backend.supports_get_result is True
        assert backend.supports_priority is True

    def test_is_made_with_what_the_settings_say(self) -> None:
        backend = JobsBackend("jobs", {"QUEUES": ["a", "b"], "OPTIONS": {"MAX_ATTEMPTS": 7}})

        assert (backend.alias, backend.queues) == ("jobs", {"a", "b"})
        assert backend.options == {"MAX_ATTEMPTS": 7}


class TestTasks:
    def test_are_django_s_with_ours_besides(self) -> None:
        assert isinstance(examples.add, JobTask)
        assert isinstance(examples.add, Task)
        assert examples.add.name == "add"
        assert examples.add.module_path == f"{HERE}.add"
        assert examples.add.get_backend() is task_backends["default"]
        assert (examples.tell.priority, examples.tell.takes_context) == (50, True)

    def test_can_be_called(self) -> None:
        assert examples.add.call(1, right=2) == 3
        assert examples.add_later.call(1, right=2) == 3
        assert async_to_sync(examples.add.acall)(1, right=2) == 3
        assert async_to_sync(examples.add_later.acall)(1, right=2) == 3

    def test_using_changes_a_copy_and_keeps_what_is_ours(self) -> None:
        later = datetime(2040, 1, 1, tzinfo=UTC)
        changed = examples.fail_always.using(priority=7, queue_name="default", run_after=later)

        assert (changed.priority, changed.run_after) == (7, later)
        assert (changed.max_attempts, changed.backoff) == (3, (0.001, 0.002))
        assert examples.fail_always.priority == 0

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="tasks can be pickled from 6.1 on")
    def test_can_be_pickled(self) -> None:
        assert pickle.loads(pickle.dumps(examples.fail_always)) == examples.fail_always

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"priority": 101}, "priority must be a whole number"),
            ({"priority": 1.5}, "priority must be a whole number"),
            ({"queue_name": "unknown"}, "Queue 'unknown' is not valid for backend"),
            ({"takes_context": True}, "does not have a first argument of 'context'"),
            ({"max_attempts": 0}, "max_attempts is 0; it is a whole number from 1 to 1000"),
            ({"max_attempts": True}, "max_attempts is True"),
            ({"backoff": 5}, "backoff is 5; it is two numbers of seconds"),
            ({"backoff": (10, 5)}, "backoff is (10, 5)"),
            ({"backoff": (0, 5)}, "backoff is (0, 5)"),
            ({"timeout": 0}, "timeout is 0; it is seconds or a timedelta"),
            ({"timeout": "1s"}, "timeout is '1s'"),
            ({"timeout": timedelta(days=31)}, "at most 30 days"),
            ({"timeout": float("nan")}, "timeout is nan"),
            ({"timeout": float("inf")}, "timeout is inf"),
            ({"unique_key": 7}, "unique_key is 7; it is a format string or a function"),
            ({"retry_on": ValueError}, "it is a tuple of exception classes"),
            ({"retry_on": ("ValueError",)}, "it is a tuple of exception classes"),
            ({"isolation": "vm"}, "isolation is 'vm'; it is 'thread' or 'process'"),
        ],
    )
    def test_an_option_that_cannot_be_is_refused(self, options: Any, words: str) -> None:
        with pytest.raises(InvalidTask) as caught:
            task(**options)(examples.plain)

        assert words in str(caught.value)

    def test_a_function_within_a_function_is_refused(self) -> None:
        def inner() -> None: ...

        with pytest.raises(InvalidTask, match="module level"):
            task(inner)

    def test_run_after_is_aware(self) -> None:
        with pytest.raises(InvalidTask, match="aware"):
            examples.add.using(run_after=datetime(2040, 1, 1))  # noqa: DTZ001

    def test_queues_may_be_any_where_none_is_listed(self) -> None:
        with override_settings(
            TASKS={"default": {"BACKEND": f"{JobsBackend.__module__}.JobsBackend", "QUEUES": []}}
        ):
            assert examples.add.using(queue_name="mail").queue_name == "mail"
            with pytest.raises(InvalidTask, match="1 to 64 characters"):
                examples.add.using(queue_name="q" * 65)

    def test_run_under_other_backends_too(self) -> None:
        kind = BaseTaskBackend.__module__.replace(".base", ".immediate")
        with override_settings(TASKS={"default": {"BACKEND": f"{kind}.ImmediateBackend"}}):
            assert examples.add.enqueue(1, right=2).return_value == 3


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


class TestSignals:
    def test_are_sent_with_the_class(self, tasks: Jobs) -> None:
        enqueued, started, finished = Heard(), Heard(), Heard()
        with (
            listening(signals.task_enqueued, enqueued, JobsBackend),
            listening(signals.task_started, started, JobsBackend),
            listening(signals.task_finished, finished, JobsBackend),
        ):
            result = examples.add.enqueue(1, right=2)
            assert len(enqueued.calls) == 1
            assert started.calls == []
            tasks.drain()

        for heard in (enqueued, started, finished):
            ((sender, found),) = heard.calls
            assert sender is JobsBackend
            assert (found.id, found.args, found.kwargs) == (result.id, [1], {"right": 2})
        assert started.calls[0][1].status == TaskResultStatus.RUNNING
        assert started.calls[0][1].started_at is not None
        (_, last) = finished.calls[0]
        assert (last.status, last.return_value, last.attempts) == ("SUCCESSFUL", 3, 1)
        assert last.finished_at is not None

    def test_finished_is_sent_when_it_is_in_the_database(self, tasks: Jobs) -> None:
        seen: list[str] = []

        def look(task_result: Any, **_: Any) -> None:
            seen.append(tasks.state(task_result.id))

        with listening(signals.task_finished, look):
            examples.add.enqueue(1)
            tasks.drain()

        assert seen == ["SUCCEEDED"]

    def test_a_run_that_is_tried_again_has_not_finished(self, tasks: Jobs) -> None:
        finished, started = Heard(), Heard()
        with listening(signals.task_finished, finished), listening(signals.task_started, started):
            result = examples.fail_always.enqueue()
            assert eventually(lambda: bool(tasks.drain() or result.refresh() or result.is_finished))

        ((_, found),) = finished.calls
        assert (found.status, found.attempts, len(found.errors)) == ("FAILED", 3, 3)
        assert [result.attempts for _, result in started.calls] == [1, 2, 3]

    def test_a_failure_is_logged_with_its_traceback(
        self, tasks: Jobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        examples.fail.enqueue("to be logged")
        with caplog.at_level(logging.ERROR):
            tasks.drain()

        (record,) = [one for one in caplog.records if "state=FAILED" in one.getMessage()]
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "to be logged"

    def test_a_receiver_that_is_slow_holds_up_no_writing(self, tasks: Jobs) -> None:
        go_on = threading.Event()

        def slow(**_: Any) -> None:
            go_on.wait(30)

        results = [examples.add.enqueue(n) for n in range(3)]
        worker = tasks.worker()
        thread = threading.Thread(target=worker.run)
        with listening(signals.task_finished, slow):
            thread.start()
            try:
                assert eventually(
                    lambda: all(tasks.state(one.id) == "SUCCEEDED" for one in results)
                )
                assert not go_on.is_set()
            finally:
                go_on.set()
                worker.stop.set()
                thread.join(30)

    def test_nothing_is_made_for_nobody(self, tasks: Jobs, monkeypatch: Any) -> None:
        """With no receiver and no log line wanted, a run has no result built for it."""
        result = examples.nothing.enqueue()
        made: list[Any] = []
        monkeypatch.setattr(task_results, "of_run", made.append)
        monkeypatch.setattr(task_results, "of_ended", lambda *args: made.append(args))
        logging.getLogger(TASKS_LOGGER).setLevel(logging.WARNING)
        tasks.drain()

        assert tasks.state(result.id) == "SUCCEEDED"
        assert made == []


class TestDefects:
    """research: what the reference backend does wrong, and this one must not."""

    def test_defect_6_4_1_a_crash_leaves_nothing_running_for_ever(self, tasks: Jobs) -> None:
        from hodei.sessions import connect
        from jobs import leases

        result = examples.add.enqueue(1)
        with connect("default", "test") as session:
            (job,) = leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1, seconds=-1)
            assert tasks.state(job.id) == "RUNNING"
            leases.rescue(session)
        result.refresh()

        assert result.status == TaskResultStatus.READY

    @pytest.mark.parametrize("error", [ValueError("of a receiver"), SystemExit(1)])
    @pytest.mark.parametrize("signal", ["task_started", "task_finished"])
    def test_defect_6_4_2_a_receiver_that_raises_changes_nothing(
        self, tasks: Jobs, signal: str, error: BaseException
    ) -> None:
        heard = Heard(error)
        with listening(getattr(signals, signal), heard):
            results = [examples.add.enqueue(n) for n in range(3)]
            tasks.drain()

        assert len(heard.calls) == 3
        for result in results:
            result.refresh()
            assert (result.status, result.attempts) == ("SUCCESSFUL", 1)

    def test_defect_6_4_2_nor_does_one_of_enqueued(self, tasks: Jobs) -> None:
        with listening(signals.task_enqueued, Heard(ValueError("of a receiver"))):
            result = examples.add.enqueue(1)

        assert tasks.state(result.id) == "PENDING"  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["add", "fail"])
    def test_defect_6_4_3_the_sender_is_always_the_class(self, tasks: Jobs, name: str) -> None:
        started, finished = Heard(), Heard()
        with listening(signals.task_started, started), listening(signals.task_finished, finished):
            getattr(examples, name).enqueue(1)
            tasks.drain()

        assert [sender for sender, _ in started.calls + finished.calls] == [JobsBackend] * 2

    def test_defect_6_4_4_what_is_due_later_stands_in_nobody_s_way(self, tasks: Jobs) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        for _ in range(5):
            examples.add.using(run_after=later, priority=100).enqueue(0)
        examples.add.enqueue(1)
        tasks.drain()

        assert examples.noted == [(1, 0)]
        assert tasks.value("SELECT count(*) FROM job_queue_deferred") == 5

    def test_defect_6_4_5_a_path_that_is_no_task_is_not_run(self, tasks: Jobs) -> None:
        result = examples.add.enqueue(1)
        tasks.execute(
            "UPDATE jobs SET spec = replace(spec::text, %s, 'os.getpid')::jsonb", [f"{HERE}.add"]
        )
        tasks.drain()

        assert tasks.state(result.id) == "FAILED"  # type: ignore[arg-type]
        assert "which is no task" in tasks.value("SELECT error_message FROM jobs")

    def test_defect_6_4_5_one_that_cannot_be_imported_is_tried_again(self, tasks: Jobs) -> None:
        """A worker of the old version met it: soon there is one of the new."""
        examples.add.enqueue(1)
        tasks.execute("UPDATE jobs SET spec = replace(spec::text, '.add', '.new')::jsonb")
        tasks.drain()

        assert tasks.rows("SELECT state, attempts FROM jobs") == [("PENDING", 1)]
        assert tasks.value("SELECT kind FROM job_failed_attempts") == "ConfigurationError"

    def test_defect_6_4_6_a_database_that_goes_away_ends_no_worker(self, tasks: Jobs) -> None:
        worker = tasks.worker()
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            ended = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'hodei jobs f%'"
            )
            assert eventually(lambda: len(tasks.rows(ended)) >= 2)
            result = examples.add.enqueue(1)
            assert eventually(lambda: result.refresh() or result.is_finished)
        finally:
            worker.stop.set()
            thread.join(30)
        assert result.return_value == 1

    def test_defect_6_4_7_results_stay_until_somebody_decides(self, tasks: Jobs) -> None:
        """Nothing here deletes: retention does it, in batches."""
        examples.add.enqueue(1)
        tasks.drain()
        tasks.drain()

        assert tasks.value("SELECT count(*) FROM jobs") == 1

    def test_defect_6_4_8_every_error_is_kept(self, tasks: Jobs) -> None:
        result = examples.fail_twice.enqueue()
        assert eventually(lambda: bool(tasks.drain() or result.refresh() or result.is_finished))

        assert len(result.errors) == 2

    def test_defect_6_4_9_async_tasks_share_a_loop(self, tasks: Jobs, monkeypatch: Any) -> None:
        made: list[Any] = []
        new_loop = asyncio.new_event_loop
        monkeypatch.setattr(asyncio, "new_event_loop", lambda: made.append(1) or new_loop())
        for number in range(10):
            examples.add_later.enqueue(number)
        tasks.drain()

        assert len(made) == 1

    @pytest.mark.parametrize("name", ["backend_pid", "backend_pid_async"])
    def test_defect_6_4_10_no_connection_for_each_task(self, tasks: Jobs, name: str) -> None:
        for _ in range(5):
            getattr(examples, name).enqueue()
        tasks.drain()

        assert tasks.value("SELECT count(DISTINCT result) FROM jobs") == 1


class TestChecks:
    def found(self, params: dict[str, Any], alias: str = "default") -> list[tuple[str, str]]:
        return [(one.id or "", one.msg) for one in JobsBackend(alias, params).check()]

    def test_settings_of_this_project_are_fine(self) -> None:
        assert self.found({}) == []
        assert self.found({"QUEUES": [], "OPTIONS": {"MAX_ATTEMPTS": 5, "TIMEOUT": 2.5}}) == []

    def test_they_are_part_of_django_s(self) -> None:
        with override_settings(
            TASKS={"default": {"BACKEND": "jobs.backend.JobsBackend", "OPTIONS": {"RETRIES": 1}}}
        ):
            found = [one for one in checks.run_checks() if one.id == "jobs.E003"]

        assert [one.msg for one in found] == [
            "TASKS['default'] has the option 'RETRIES'; known are MAX_ATTEMPTS, TIMEOUT."
        ]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"MAX_ATTEMPTS": 0}, "OPTIONS: max_attempts is 0; it is a whole number"),
            ({"TIMEOUT": -1}, "OPTIONS: timeout is -1; it is seconds or a timedelta"),
        ],
    )
    def test_options(self, options: Any, words: str) -> None:
        ((number, message),) = self.found({"OPTIONS": options})

        assert number == "jobs.E003"
        assert words in message

    def test_queues(self) -> None:
        ((number, message),) = self.found({"QUEUES": ["fine", "q" * 65]})

        assert number == "jobs.E004"
        assert "a queue is a text of 1 to 64 characters" in message

    def test_the_app(self, settings: Any) -> None:
        settings.INSTALLED_APPS = [
            one for one in settings.INSTALLED_APPS if one not in {"jobs", "sagas"}
        ]

        assert [number for number, _ in self.found({})] == ["jobs.E001"]

    def test_the_database(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(connections["default"], "vendor", "sqlite")

        ((number, message),) = self.found({})
        assert number == "jobs.E002"
        assert "the database of the jobs, 'default', is sqlite" in message

    @pytest.mark.parametrize("executors", [{}, {"python": "no.such.Class"}])
    def test_the_executor(self, settings: Any, executors: Any) -> None:
        settings.JOBS_EXECUTORS = executors

        assert [number for number, _ in self.found({})] == ["jobs.E005"]
