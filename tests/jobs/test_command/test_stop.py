from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from typing import Any

import pytest

from jobs.services import lifecycle
from tests.jobs.conftest import Commands, program, script
from tests.jobs.kit import running
from tests.jobs.test_command.kit import FAMILY, alive
from tests.processes import eventually

#: Starts a child in its group and one that leaves it, writes their numbers, and stays.


class TestStop:
    def test_a_timeout_ends_the_whole_family(self, commands: Commands) -> None:
        job = commands.run({**script(FAMILY), "timeout_ms": 3000})

        assert commands.failure(job)[:2] == ("TIMEOUT", "ExecutionTimeout")
        assert commands.result(job) == "Timeout"
        processes = [int(word) for word in commands.lines(job)[0].split()]
        assert len(processes) == 3
        assert eventually(lambda: not any(map(alive, processes)))

    def test_the_timeout_of_the_job_goes_before_that_of_the_spec(self, commands: Commands) -> None:
        from datetime import timedelta

        spec = {**program("sleep", "600"), "timeout_ms": 600_000}
        job = commands.run(spec, timeout=timedelta(seconds=0.2))

        assert commands.failure(job) == (
            *("TIMEOUT", "ExecutionTimeout"),
            "Timed out after 0.2 s, and was ended with all that it had started.",
        )

    def test_there_is_time_for_a_farewell(self, commands: Commands) -> None:
        farewell = "trap 'echo farewell; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
        job = commands.run({**script(farewell), "timeout_ms": 1000})

        assert commands.state(job) == "TIMEOUT"
        assert commands.lines(job) == ["ready", "farewell"]

    def test_there_is_time_for_the_farewell_of_a_child(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.JOBS_COMMAND_GRACE_SECONDS = 10.0
        child = (
            "trap 'sleep 1.5; echo farewell; exit' TERM; echo ready; while :; do sleep 0.01; done"
        )
        job = commands.run({**script(f"({child}) & wait"), "timeout_ms": 1000})

        assert commands.state(job) == "TIMEOUT"
        assert commands.lines(job) == ["ready", "farewell"]

    def test_one_that_will_not_end_is_made_to(self, commands: Commands) -> None:
        stubborn = "trap '' TERM; echo ready; while :; do sleep 0.01; done"
        job = commands.run({**script(stubborn), "timeout_ms": 1000})

        assert commands.state(job) == "TIMEOUT"
        assert commands.lines(job) == ["ready"]

    @pytest.mark.usefixtures("many_renewals")
    def test_a_cancel_ends_the_whole_family(self, commands: Commands) -> None:
        job = commands.enqueue(script(FAMILY))
        with running(commands.worker()):
            assert eventually(lambda: bool(commands.tail(job)))
            processes = [int(word) for word in commands.tail(job).split()[2:]]
            lifecycle.cancel(job, reason="enough", actor="me")
            assert eventually(lambda: commands.state(job) == "CANCELLED")

        assert len(processes) == 3
        assert eventually(lambda: not any(map(alive, processes)))
        assert commands.result(job) == "Cancelled"
        assert "[NOTE] Cancelled while it ran." in commands.log(job)

    @pytest.mark.usefixtures("many_renewals")
    def test_a_lost_lease_ends_it_at_once_and_keeps_no_log(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.JOBS_COMMAND_GRACE_SECONDS = 600.0
        job = commands.enqueue(script("trap '' TERM; echo $$; while :; do sleep 0.01; done"))
        with running(commands.worker()):
            assert eventually(lambda: bool(commands.tail(job)))
            process = int(commands.tail(job).split()[2])
            commands.execute(
                "UPDATE job_leases SET epoch = epoch + 1, expires_at = now() + '1 hour'"
            )
            assert eventually(lambda: not alive(process))

        assert commands.value("SELECT count(*) FROM job_log_files") == 0

    def test_the_stop_of_a_worker_lets_it_finish(self, commands: Commands) -> None:
        job = commands.enqueue(script("echo began; sleep 0.5; echo done"))
        stop = threading.Event()
        with running(commands.worker(stop)):
            assert eventually(lambda: commands.state(job) == "RUNNING")
            stop.set()

        assert commands.output(job) == "began\ndone\n"


class TestChildren:
    def test_one_that_holds_the_streams_open_is_not_waited_for(self, commands: Commands) -> None:
        began = time.monotonic()
        job = commands.run(script("sleep 600 & echo $!"))

        assert time.monotonic() - began < 30
        assert commands.state(job) == "SUCCEEDED"
        assert eventually(lambda: not alive(int(commands.output(job))))

    def test_one_that_left_the_group_and_holds_them_is_not_waited_for(
        self, commands: Commands
    ) -> None:
        job = commands.run(script("setsid sleep 600 & echo $!"))

        assert commands.state(job) == "SUCCEEDED"
        for line in commands.output(job).splitlines():
            # It was let go on purpose: a daemon that a job starts outlives the job and the worker.
            assert alive(int(line))
            os.kill(int(line), signal.SIGKILL)

    def test_what_one_writes_soon_after_is_kept(self, commands: Commands) -> None:
        job = commands.run(script("(sleep 0.2; echo late) & echo soon"))

        assert commands.output(job) == "soon\nlate\n"


def test_an_id_is_no_mark_of_another() -> None:
    """Epoch 1 is the beginning of epoch 12, and must not end it."""
    import subprocess

    from jobs.processes.watcher import kill_marked

    mark = f"HODEI_RUN={uuid.uuid4()}.1"
    other = subprocess.Popen(["sleep", "600"], env={"HODEI_RUN": f"{mark[10:]}2"})
    mine = subprocess.Popen(["sleep", "600"], env={"A": "1", "HODEI_RUN": mark[10:]})
    try:
        assert kill_marked(f"{mark}\0".encode()) >= 1
        assert mine.wait(30) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        mine.kill()
        other.wait()
        mine.wait()
