from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from jobs.callables import callee
from jobs.executors import python as python_module
from jobs.executors import wire
from jobs.executors.python import PythonExecutor
from jobs.runs import Cancelled, Failed, Outcome, Snoozed, Succeeded, TimedOut
from jobs.services import lifecycle
from jobs.services.queue import enqueue
from jobs.spec import JobInvalid
from jobs.states import FailureKind
from jobs.worker import Worker
from tests.databases import alias_of
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.processes import ROOT, environment, eventually

HERE = "tests.jobs.example_tasks"


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    """The worker at work in a thread, until the block ends."""

    def run() -> None:
        try:
            worker.run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        worker.stop.set()
        thread.join(30)
        examples.go_on.set()
        assert not thread.is_alive()


def python(task: str, **spec: Any) -> dict[str, Any]:
    return {"python": {"task": f"{HERE}.{task}", **spec}}


def failures(jobs: Jobs) -> list[tuple[Any, ...]]:
    return jobs.rows("SELECT kind, error_class, message FROM job_failed_attempts ORDER BY id")


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

        assert tasks.rows("SELECT state, result FROM jobs ORDER BY id") == [
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

    def test_an_async_task_is_cancelled(self, tasks: Jobs) -> None:
        examples.wait_for_ever.enqueue()
        tasks.drain()

        assert examples.noted == ["cleaned up"]
        assert tasks.rows("SELECT state, error_message FROM jobs") == [
            ("TIMEOUT", "Its time was over after 0.3 s.")
        ]

    def test_a_time_out_of_its_own_is_a_failure(self, tasks: Jobs) -> None:
        examples.time_out_by_itself.enqueue()
        tasks.drain()

        assert failures(tasks) == [
            ("Unknown", "builtins.TimeoutError", "TimeoutError: of a library")
        ]

    def test_a_task_is_told_how_long_it_has(self, tasks: Jobs) -> None:
        enqueue(spec=python("tell"), timeout=timedelta(seconds=60))
        tasks.drain()

        assert 50 < tasks.value("SELECT (result ->> 'seconds_left')::float FROM jobs") <= 60


class TestCancel:
    def test_an_async_task_is_cancelled(self, tasks: Jobs) -> None:
        result = examples.wait_without_limit.enqueue()
        worker = tasks.worker()
        with running(worker):
            assert examples.began.wait(30)
            lifecycle.cancel(result.id, reason="enough", actor="me")
            worker._finisher.look_for_cancels()
            assert eventually(lambda: tasks.state(result.id) == "CANCELLED")

        assert examples.noted == ["cleaned up"]

    def test_a_sync_task_is_told(self, tasks: Jobs) -> None:
        result = examples.wait_until_stopped.enqueue()
        worker = tasks.worker()
        with running(worker):
            assert examples.began.wait(30)
            lifecycle.cancel(result.id, reason="enough", actor="me")
            worker._finisher.look_for_cancels()
            assert eventually(lambda: tasks.state(result.id) == "CANCELLED")

        assert examples.noted == ["stopped"]

    def test_a_worker_that_stops_at_once_cancels_and_writes_nothing(self, tasks: Jobs) -> None:
        result = examples.wait_without_limit.enqueue()
        worker = tasks.worker()
        with running(worker):
            assert examples.began.wait(30)
            worker.stop_now()

        assert examples.noted == ["cleaned up"]
        assert tasks.state(result.id) == "RUNNING"


class TestConnections:
    def test_one_connection_serves_all_tasks_of_a_slot(self, tasks: Jobs) -> None:
        for _ in range(10):
            examples.backend_pid.enqueue()
        tasks.drain()

        assert tasks.value("SELECT count(DISTINCT result) FROM jobs") == 1

    def test_a_broken_one_is_replaced(self, tasks: Jobs) -> None:
        examples.backend_pid.enqueue()
        examples.break_the_connection.enqueue()
        examples.backend_pid.enqueue()
        tasks.drain()

        assert sorted(tasks.rows("SELECT state FROM jobs")) == [
            ("FAILED",),
            ("SUCCEEDED",),
            ("SUCCEEDED",),
        ]
        assert tasks.value("SELECT count(DISTINCT result) FROM jobs") == 2

    def test_none_is_left_open(self, tasks: Jobs) -> None:
        examples.backend_pid.enqueue()
        tasks.drain()

        pid = tasks.value("SELECT result FROM jobs")
        assert eventually(
            lambda: not tasks.rows("SELECT FROM pg_stat_activity WHERE pid = %s", [int(pid)])
        )

    def test_one_of_a_pool_goes_back_to_it_for_another_slot(self, tasks: Jobs) -> None:
        connections["default"].ensure_connection()
        info = connections["default"].connection.info
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": info.dbname,
            "HOST": info.host,
            "PORT": str(info.port),
            "USER": info.user,
            "PASSWORD": info.password,
        }
        pids: list[Any] = []

        def slot() -> None:
            with connections["pooled"].cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pids.append(cursor.fetchone()[0])
            python_module.tidy(connections["pooled"])
            both_had_it.wait(10)

        pool = {"min_size": 1, "max_size": 1, "timeout": 10}
        both_had_it = threading.Barrier(2)
        with alias_of(database, "pooled"):
            connections.settings["pooled"]["OPTIONS"] = {"pool": pool}
            slots = [threading.Thread(target=slot) for _ in range(2)]
            for thread in slots:
                thread.start()
            for thread in slots:
                thread.join(20)
        assert len(pids) == 2
        assert len(set(pids)) == 1


class TestCompleteInTransaction:
    def work(self, jobs: Jobs) -> int:
        return int(jobs.value("SELECT count(*) FROM job_log_garbage"))

    @pytest.mark.parametrize("then", ["return", "raise"])
    def test_the_work_and_its_end_are_one(self, tasks: Jobs, then: str) -> None:
        examples.complete.enqueue(then)
        tasks.drain()

        assert tasks.rows("SELECT state, result, completed_at IS NOT NULL FROM jobs") == [
            ("SUCCEEDED", '"in the transaction"', True)
        ]
        assert self.work(tasks) == 1
        assert failures(tasks) == []
        assert tasks.value("SELECT count(*) FROM job_leases") == 0

    def test_what_is_rolled_back_is_neither(self, tasks: Jobs) -> None:
        examples.complete.enqueue("roll back")
        tasks.drain()

        assert tasks.rows("SELECT state, result FROM jobs") == [("SUCCEEDED", '"caught"')]
        assert self.work(tasks) == 0

    def test_outside_of_a_transaction_it_is_refused(self, tasks: Jobs) -> None:
        examples.complete.enqueue("outside")
        tasks.drain()

        assert tasks.value("SELECT state FROM jobs") == "FAILED"
        assert "inside of transaction.atomic()" in failures(tasks)[0][2]

    def test_a_lease_that_is_lost_takes_the_work_with_it(self, tasks: Jobs) -> None:
        result = examples.complete.enqueue("wait")
        worker = tasks.worker()
        with running(worker):
            assert examples.began.wait(30)
            tasks.execute("UPDATE job_leases SET epoch = epoch + 1000000")
            examples.go_on.set()
            assert eventually(lambda: worker.runs == 1)

        assert self.work(tasks) == 0
        assert tasks.state(result.id) == "RUNNING"

    def test_its_lock_lets_renewals_pass(self, tasks: Jobs) -> None:
        """What holds the lock may take long, and other leases are renewed in the same statement."""
        from jobs import leases
        from jobs.context import JobContext
        from jobs.runs import Run

        examples.nothing.enqueue()
        import uuid

        from django.db import transaction

        from hodei.sessions import connect

        with connect("default", "test") as other, connect("default", "worker") as session:
            (job,) = leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1)
            other.execute("SET lock_timeout = '5s'")
            with transaction.atomic():
                JobContext(Run(job, uuid.uuid4())).complete_in_transaction()
                assert leases.renew(other, [(job.id, job.epoch)]) == {job.id: False}
                # And nobody takes it away.
                other.execute("UPDATE job_leases SET expires_at = now() - interval '1 hour'")
                assert leases.rescue(other) == []
            assert leases.finish(session, []) == set()
        assert tasks.state(job.id) == "SUCCEEDED"


@pytest.mark.process
class TestProcesses:
    def test_a_run_in_a_process_of_its_own(self, tasks: Jobs) -> None:
        result = examples.isolated.enqueue({"a": ["ü", None]})
        later = examples.isolated_async.enqueue(1)
        tasks.drain(concurrency=2)
        result.refresh()
        later.refresh()

        assert result.return_value["value"] == {"a": ["ü", None]}
        assert result.return_value["pid"] != os.getpid()
        assert result.return_value["attempt"] == 1
        assert later.return_value == 2

    def test_its_failures_come_back(self, tasks: Jobs) -> None:
        examples.isolated_fail.enqueue()
        examples.isolated_exit.enqueue("kill")
        examples.isolated_exit.enqueue("exit")
        tasks.drain(concurrency=3)

        assert sorted(failures(tasks), key=str) == [
            ("NonZeroExitCode", None, "Its process ended with exit code 7 and no answer."),
            ("SignalReceived", None, "Its process was ended by SIGKILL."),
            ("Unknown", f"{HERE}.Unlucky", "Unlucky: far away"),
        ]
        assert "raise Unlucky" in tasks.value(
            "SELECT traceback FROM job_failed_attempts WHERE kind = 'Unknown'"
        )

    @pytest.mark.parametrize("why", ["time", "cancel", "worker"])
    def test_it_is_killed_with_all_that_it_has_started(
        self, tasks: Jobs, tmp_path: Path, why: str
    ) -> None:
        path = tmp_path / "pids"
        job = enqueue(
            spec=python("isolated_hang", args=[str(path)]),
            timeout=timedelta(seconds=3 if why == "time" else 100),
            max_attempts=1,
        ).id
        worker = tasks.worker()
        with running(worker):
            assert eventually(path.exists)
            pids = [int(pid) for pid in path.read_text().split()]
            if why == "cancel":
                lifecycle.cancel(job, reason="enough", actor="me")
                worker._finisher.look_for_cancels()
            elif why == "worker":
                worker.stop_now()
            assert eventually(lambda: not any(map(is_alive, pids)))
        assert (
            tasks.state(job) == {"time": "TIMEOUT", "cancel": "CANCELLED", "worker": "RUNNING"}[why]
        )

    def test_it_ends_with_its_worker(self, tmp_path: Path) -> None:
        """Killed, the worker can do nothing more about it, and another one runs the job again."""
        path = tmp_path / "pids"
        script = f"""
import django, uuid
django.setup()
from jobs.executors.isolated import run_isolated
from jobs.runs import Claimed, Run
spec = '{{"python": {{"task": "{HERE}.isolated_hang", "args": ["{path}"]}}}}'
job = Claimed(
    *(uuid.uuid4(), 1, spec, 1, 3, None, "", None, None, None, None, 0, "{{}}", True, 0, 1, "q")
)
run_isolated(Run(job, uuid.uuid4()))
"""
        with subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=environment(DJANGO_SETTINGS_MODULE="hodei.settings"),
        ) as worker:
            try:
                assert eventually(path.exists)
            finally:
                worker.kill()
        pids = [int(pid) for pid in path.read_text().split()]
        assert eventually(lambda: not any(map(is_alive, pids)))

    @pytest.mark.parametrize(
        "outcome",
        [
            Succeeded({"a": [1, None]}),
            Failed(FailureKind.IO_ERROR, "m", "c", "t", {"r": 1}, retryable=True, retry_in=1.5),
            TimedOut("m"),
            Cancelled(),
            Snoozed(2.0),
        ],
        ids=lambda one: type(one).__name__,
    )
    def test_every_outcome_comes_through_the_pipe(self, outcome: Outcome) -> None:
        assert wire.decode(json.loads(json.dumps(wire.encode(outcome)))) == outcome


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


class TestCost:
    def test_a_task_is_imported_once(self, tasks: Jobs) -> None:
        callee.cache_clear()
        for _ in range(50):
            examples.nothing.enqueue()
        tasks.drain()

        info = callee.cache_info()
        assert (info.misses, info.hits >= 99) == (1, True)

    def test_a_sync_run_costs_no_query(self, tasks: Jobs) -> None:
        from django.test.utils import CaptureQueriesContext

        from jobs.runs import Claimed, Run

        job = Claimed(
            *(
                None,
                1,
                '{"python": {"task": "tests.jobs.example_tasks.nothing", "backend": "default"}}',
            ),
            *(1, 3, None, "", None, None, None, None, 0, "{}", True, 0, 1, "default"),  # type: ignore[arg-type]
        )
        with CaptureQueriesContext(connections["default"]) as queries:
            PythonExecutor(inline=True).run(Run(job, None))  # type: ignore[arg-type]
        assert len(queries) == 0
