"""Whatever a task does, it costs its own job, and nobody else's."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

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
            assert eventually(lambda: worker.runs == 2)
            assert tasks.state(result.id) == "SUCCEEDED"
            assert tasks.state(other.id) == "SUCCEEDED"


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
            assert eventually(lambda: worker.runs == 2)
            assert eventually(lambda: tasks.state(other.id) == "SUCCEEDED")
        ((kind_of, error_class, said),) = failures(tasks)
        assert kind_of == FailureKind.UNKNOWN
        assert error_class.endswith(f".{kind}")
        assert said.startswith(message)
        assert f"in {name}" in tasks.value("SELECT traceback FROM job_failed_attempts")
