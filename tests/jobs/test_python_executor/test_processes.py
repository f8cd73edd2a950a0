from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.executors import wire
from jobs.runs import Cancelled, Failed, Outcome, Snoozed, Succeeded, TimedOut
from jobs.services import lifecycle
from jobs.services.queue import enqueue
from jobs.states import FailureKind
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.jobs.test_python_executor.kit import HERE, failures, python, running
from tests.processes import ROOT, environment, eventually


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
        assert result.return_value["seconds_left"] is None
        assert result.return_value["using"] == "default"
        assert later.return_value == 2

    def test_it_is_told_how_long_it_has(self, tasks: Jobs) -> None:
        result = dataclasses.replace(examples.isolated, timeout=100).enqueue(None)
        tasks.drain()
        result.refresh()

        assert 0 < result.return_value["seconds_left"] <= 100

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
            timeout=timedelta(seconds=8 if why == "time" else 100),
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
