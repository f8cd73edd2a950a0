"""Whatever a task does, it costs its own job, and nobody else's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.executors.python import PythonExecutor
from jobs.states import FailureKind
from tests.jobs import example_tasks as examples
from tests.jobs import misused
from tests.jobs.conftest import Jobs
from tests.jobs.test_python_executor.kit import failures, running
from tests.processes import eventually


@pytest.fixture
def without_logs() -> Iterator[None]:
    """pytest raises what a record cannot show; any other handler says so and goes on."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class TestTheEventLoop:
    @pytest.mark.parametrize(
        "name", ["leave_an_exit", "leave_an_exit_in_a_callback", "stop_the_loop"]
    )
    def test_nothing_that_a_task_leaves_there_ends_it(self, tasks: Jobs, name: str) -> None:
        misused.left.clear()
        result = getattr(misused, name).enqueue()
        worker = tasks.worker(concurrency=2)
        with running(worker):
            assert misused.left.wait(30)
            other = examples.add_later.enqueue(1, 2)
            assert eventually(lambda: tasks.state(other.id) == "SUCCEEDED")
            assert eventually(lambda: tasks.state(result.id) == "SUCCEEDED")


@pytest.mark.usefixtures("without_logs")
class TestErrors:
    @pytest.mark.parametrize(
        ("name", "kind", "message"),
        [
            ("raise_an_exit", "ExitsWhenShown", "ExitsWhenShown: (it cannot be shown)"),
            ("raise_an_exit_async", "ExitsWhenShown", "ExitsWhenShown: (it cannot be shown)"),
            ("raise_what_traceback_cannot_show", "SyntaxError", "SyntaxError: no (page.html"),
            ("raise_what_traceback_cannot_show_async", "SyntaxError", "SyntaxError: no (page.html"),
        ],
    )
    def test_one_that_cannot_be_shown_costs_no_slot(
        self, tasks: Jobs, name: str, kind: str, message: str
    ) -> None:
        getattr(misused, name).enqueue()
        other = examples.add.enqueue(1)
        worker = tasks.worker()
        with running(worker):
            assert eventually(lambda: tasks.state(other.id) == "SUCCEEDED")
        ((kind_of, error_class, said),) = failures(tasks)
        assert kind_of == FailureKind.UNKNOWN
        assert error_class.endswith(f".{kind}")
        assert said.startswith(message)
        assert f"in {name}" in tasks.value("SELECT traceback FROM job_failed_attempts")

    @pytest.mark.parametrize("name", ["retry_of_its_own", "retry_of_its_own_strangely"])
    def test_one_below_retry_asks_for_another_run(self, tasks: Jobs, name: str) -> None:
        result = getattr(misused, name).enqueue()
        tasks.drain()
        assert eventually(lambda: tasks.drain() is not None and len(failures(tasks)) == 2)
        assert tasks.state(result.id) == "FAILED"

    @pytest.mark.parametrize(
        ("name", "least"), [("snooze_of_its_own", 0), ("snooze_of_its_own_for_an_hour", 3000)]
    )
    def test_one_below_snooze_waits(self, tasks: Jobs, name: str, least: int) -> None:
        result = getattr(misused, name).enqueue()
        tasks.drain()
        ((state, attempts, waits),) = tasks.rows(
            "SELECT state, attempts, run_after - updated_at > %s * interval '1 s' FROM jobs "
            "WHERE id = %s",
            [least, result.id],
        )
        assert (state, attempts, waits) == ("PENDING", 0, True)

    def test_a_value_that_cannot_be_read_is_no_reason_to_run_it_again(self, tasks: Jobs) -> None:
        result = misused.return_what_cannot_be_read.enqueue()
        tasks.drain()
        assert tasks.state(result.id) == "FAILED"
        ((kind, _, message),) = failures(tasks)
        assert kind == FailureKind.VALIDATION_ERROR
        assert "not now" in message

    def test_a_long_one_comes_back_from_a_process(self, tasks: Jobs) -> None:
        result = misused.fail_at_length.enqueue()
        tasks.drain()
        assert tasks.state(result.id) == "FAILED"
        ((kind, error_class, message),) = failures(tasks)
        assert (kind, error_class) == (FailureKind.UNKNOWN, "jobs.exceptions.DoNotRetry")
        assert message.endswith("xxx...")


class TestTransactions:
    """What a task leaves open would take in what the next one of its slot does, for nothing."""

    @pytest.mark.parametrize(
        "name",
        [
            *("leave_a_transaction", "leave_autocommit_off", "leave_a_broken_transaction"),
            "leave_a_transaction_far_away",
        ],
    )
    def test_one_that_is_left_open_with_writes_fails_its_job(self, tasks: Jobs, name: str) -> None:
        result = getattr(misused, name).enqueue()
        misused.write.enqueue("next")
        tasks.drain()

        assert tasks.state(result.id) == "FAILED"
        assert "left a transaction open" in failures(tasks)[0][2]
        assert tasks.rows("SELECT storage_uri FROM job_log_garbage") == [("next",)]

    def test_one_without_writes_fails_nothing(self, tasks: Jobs) -> None:
        result = misused.leave_a_transaction_unwritten.enqueue()
        misused.write.enqueue("next")
        tasks.drain()

        assert tasks.state(result.id) == "SUCCEEDED"
        assert tasks.rows("SELECT storage_uri FROM job_log_garbage") == [("next",)]


def test_a_fork_that_comes_back_runs_nothing_of_the_worker(tasks: Jobs) -> None:
    result = misused.come_back_from_a_fork.enqueue()
    for number in range(5):
        examples.add.enqueue(number)
    tasks.drain()

    assert tasks.rows("SELECT state, result FROM jobs WHERE id = %s", [result.id]) == [
        ("SUCCEEDED", '"the fork ended with 0"')
    ]


class WithALimit(PythonExecutor):
    default_timeout = 0.3


@pytest.mark.parametrize("name", ["wait_for_long", "wait_for_long_far_away"])
def test_the_limit_may_be_the_executors_own(tasks: Jobs, settings: Any, name: str) -> None:
    settings.JOBS_EXECUTORS = {"python": f"{__name__}.WithALimit"}
    result = getattr(misused, name).enqueue()
    tasks.drain()

    assert tasks.state(result.id) == "TIMEOUT"
