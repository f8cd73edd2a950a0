from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from jobs.services.queue import enqueue
from jobs.spec import JobInvalid
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.jobs.test_python_executor.kit import HERE, failures, python
from tests.processes import eventually


class TestCalls:
    def test_a_function_with_its_arguments(self, tasks: Jobs) -> None:
        job = enqueue(spec=python("add", args=[2], kwargs={"right": 3})).id
        tasks.drain()

        assert tasks.state(job) == "SUCCEEDED"
        assert tasks.value("SELECT result FROM jobs") == "5"
        assert examples.noted == [(2, 3)]

    def test_async_ones_share_one_event_loop(self, tasks: Jobs) -> None:
        for number in range(20):
            examples.add_later.enqueue(number, right=1)
        tasks.drain(concurrency=4)

        assert len(set(examples.noted)) == 1
        assert examples.noted[0][0] == "jobs event loop"
        assert tasks.value("SELECT sum(result::text::int) FROM jobs") == sum(range(20)) + 20

    def test_nothing_is_left_of_the_loop_and_of_the_threads(self, tasks: Jobs) -> None:
        examples.add_later.enqueue(1)
        tasks.drain()

        names = {thread.name for thread in threading.enumerate()}
        assert not {name for name in names if name.startswith("jobs ")}

    def test_what_json_holds_otherwise_is_returned_as_json(self, tasks: Jobs) -> None:
        examples.return_a_tuple.enqueue()
        tasks.drain()

        assert tasks.value("SELECT result FROM jobs") == '[1, [2, "three"]]'

    @pytest.mark.parametrize(
        "value", [None, False, 0, "", [], {}, {"a": [1.5, None]}, "ünïcödé %s"]
    )
    def test_results_come_back_as_they_were(self, tasks: Jobs, value: Any) -> None:
        result = examples.return_this.enqueue(value)
        tasks.drain()
        result.refresh()

        assert result.return_value == value

    def test_what_json_cannot_hold_fails_once(self, tasks: Jobs) -> None:
        examples.return_a_set.enqueue()
        tasks.drain()

        assert examples.noted == ["run"]
        assert failures(tasks) == [
            (
                "ValidationError",
                "builtins.TypeError",
                "What it returned cannot be JSON: Unsupported type: <class 'set'>.",
            )
        ]


class TestFailures:
    def test_say_what_was_raised_and_where(self, tasks: Jobs) -> None:
        examples.fail.enqueue("über 100%")
        tasks.drain()

        assert failures(tasks) == [("Unknown", f"{HERE}.Unlucky", "Unlucky: über 100%")]
        trace = tasks.value("SELECT traceback FROM job_failed_attempts")
        assert "raise Unlucky(message)" in trace
        assert "jobs/worker.py" not in trace

    def test_are_tried_again_by_the_backoff_of_the_task(self, tasks: Jobs) -> None:
        examples.fail_always.enqueue()

        assert eventually(
            lambda: bool(tasks.drain() or tasks.value("SELECT state = 'FAILED' FROM jobs"))
        )
        assert examples.noted == ["failed"] * 3
        assert tasks.value("SELECT attempts FROM jobs") == 3

    def test_an_async_one_is_one(self, tasks: Jobs) -> None:
        examples.fail_async.enqueue()
        tasks.drain(max_jobs=1)

        assert failures(tasks) == [("Unknown", f"{HERE}.Unlucky", "Unlucky: later")]

    def test_other_exceptions_than_those_of_retry_on_end_it(self, tasks: Jobs) -> None:
        examples.fail_with.enqueue("value")
        tasks.drain()

        assert tasks.rows("SELECT state, attempts FROM jobs") == [("FAILED", 1)]

    def test_those_of_retry_on_and_their_subclasses_do_not(self, tasks: Jobs) -> None:
        examples.fail_with.enqueue("connection")
        tasks.drain(max_jobs=1)

        assert tasks.rows("SELECT state, attempts FROM jobs") == [("PENDING", 1)]

    def test_retry_says_when(self, tasks: Jobs) -> None:
        examples.ask_for_retry.enqueue(3600)
        tasks.drain()

        assert failures(tasks) == [
            ("Unknown", "jobs.exceptions.Retry", "Retry: the bank is closed")
        ]
        assert 3500 < tasks.value("SELECT extract(epoch FROM run_after - now()) FROM jobs") < 3601

    def test_retry_runs_again_only_while_attempts_are_left(self, tasks: Jobs) -> None:
        examples.ask_for_retry.enqueue(0)
        tasks.drain()

        assert tasks.rows("SELECT state, attempts FROM jobs") == [("FAILED", 2)]

    def test_do_not_retry_ends_it(self, tasks: Jobs) -> None:
        examples.do_not_retry.enqueue()
        tasks.drain()

        assert examples.noted == ["run"]
        assert tasks.rows("SELECT state, attempts, max_attempts FROM jobs") == [("FAILED", 1, 3)]

    def test_snooze_spends_no_attempt(self, tasks: Jobs) -> None:
        examples.snooze_once.enqueue()
        tasks.drain()

        assert examples.noted == [1, 1]
        assert tasks.rows("SELECT state, attempts, result FROM jobs") == [
            ("SUCCEEDED", 1, '"done"')
        ]
        assert failures(tasks) == []

    @pytest.mark.parametrize(
        ("name", "error"),
        [("exit_rudely", "builtins.SystemExit"), ("raise_rudely", f"{HERE}.Rude")],
    )
    def test_nothing_that_is_raised_ends_a_slot(self, tasks: Jobs, name: str, error: str) -> None:
        getattr(examples, name).enqueue()
        after = examples.add.enqueue(1)
        tasks.drain()

        assert [found[1] for found in failures(tasks)] == [error]
        after.refresh()
        assert after.return_value == 1

    @pytest.mark.parametrize("wait", [-1, float("nan"), timedelta(days=-1), 1e12])
    def test_a_pause_that_is_none_is_refused_where_it_is_raised(self, wait: Any) -> None:
        with pytest.raises(ValueError, match="it is 0 to ten years"):
            examples.Retry(in_=wait)


class TestAllowed:
    """Which paths may run."""

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("os.system", "'os.system', which is no task: decorate the function"),
            (f"{HERE}.plain", "which is no task"),
            (f"{HERE}._hidden", "which is no task"),
            (f"{HERE}.missing", "cannot be imported (AttributeError"),
            ("tests.missing.task", "cannot be imported (ModuleNotFoundError"),
            ("task", "it is a dotted path"),
            ("tests.jobs. example", "it is a dotted path"),
            ("", "it is a dotted path"),
        ],
    )
    def test_without_the_setting_tasks_alone(self, tasks: Jobs, path: str, words: str) -> None:
        with pytest.raises(JobInvalid) as caught:
            enqueue(spec={"python": {"task": path}})

        assert words in str(caught.value)
        assert tasks.value("SELECT count(*) FROM jobs") == 0

    def test_with_it_functions_that_match(self, tasks: Jobs, settings: Any) -> None:
        settings.JOBS_TASKS_ALLOWED = [f"{HERE}.plain*"]
        enqueue(spec=python("plain", args=[{"a": 1}]))
        enqueue(spec=python("plain_async", args=["later"]))
        enqueue(spec=python("plain_with_context", takes_context=True))
        tasks.drain()

        assert tasks.rows("SELECT state, result FROM jobs ORDER BY created_at") == [
            ("SUCCEEDED", '{"a": 1}'),
            ("SUCCEEDED", '"later"'),
            ("SUCCEEDED", "1"),
        ]

    def test_with_it_nothing_else_is_even_imported(self, tasks: Jobs, settings: Any) -> None:
        settings.JOBS_TASKS_ALLOWED = ["shop.*"]

        with pytest.raises(JobInvalid, match="JOBS_TASKS_ALLOWED has no pattern that allows it"):
            enqueue(spec={"python": {"task": "tests.jobs.executors.began"}})
        with pytest.raises(JobInvalid, match="JOBS_TASKS_ALLOWED has no pattern"):
            enqueue(spec={"python": {"task": "tests.no_such_module.task"}})

    def test_what_is_no_function_is_refused(self, tasks: Jobs, settings: Any) -> None:
        settings.JOBS_TASKS_ALLOWED = ["tests.*"]

        with pytest.raises(JobInvalid, match="which is int and no function"):
            enqueue(spec=python("NOT_CALLABLE"))

    def test_a_job_that_may_not_run_any_more_fails_once(self, tasks: Jobs, settings: Any) -> None:
        settings.JOBS_TASKS_ALLOWED = ["tests.*"]
        job = enqueue(spec=python("plain")).id
        settings.JOBS_TASKS_ALLOWED = ["shop.*"]
        tasks.drain()

        assert tasks.state(job) == "FAILED"
        assert failures(tasks)[0][0] == "ConfigurationError"
        assert examples.noted == []

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            (None, "it is a dict"),
            ({}, "it has the dotted path of a 'task'"),
            ({"task": 7}, "['task'] is 7; it is a dotted path"),
            ({"task": f"{HERE}.add", "args": {"a": 1}}, "['args'] is {'a': 1}; it is a list"),
            ({"task": f"{HERE}.add", "kwargs": [1]}, "['kwargs'] is [1]; it is a dict"),
            ({"task": f"{HERE}.add", "takes_context": 1}, "it is True or False"),
            ({"task": f"{HERE}.add", "isolation": "vm"}, "it is 'thread' or 'process'"),
            ({"task": f"{HERE}.add", "priority": 1}, "has 'priority'; known are 'task'"),
            ({"task": f"{HERE}.add", "isolation": "process"}, "whose decorator says"),
        ],
    )
    def test_a_spec_that_is_none_is_refused(self, tasks: Jobs, spec: Any, words: str) -> None:
        with pytest.raises(JobInvalid) as caught:
            enqueue(spec={"python": spec})

        assert words in str(caught.value)
