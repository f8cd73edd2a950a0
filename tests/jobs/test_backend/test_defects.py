"""What the reference backend does wrong, and this one must not."""

from __future__ import annotations

import asyncio
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hodei.compat import (
    TaskResultStatus,
    signals,
)
from jobs.backend import JobsBackend
from jobs.services import retention
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.jobs.test_backend.kit import HERE, Heard, listening
from tests.processes import eventually


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
        tasks.drain(max_jobs=1)

        assert tasks.rows("SELECT state, attempts FROM jobs") == [("PENDING", 1)]
        assert tasks.value("SELECT kind FROM job_failed_attempts") == "ConfigurationError"

    def test_defect_6_4_6_a_database_that_goes_away_ends_no_worker(self, tasks: Jobs) -> None:
        worker = tasks.worker()
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            its_own = (
                "FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'hodei jobs f%'"
            )
            assert eventually(lambda: tasks.value(f"SELECT count(*) {its_own}") >= 2)
            assert len(tasks.rows(f"SELECT pg_terminate_backend(pid) {its_own}")) >= 2
            result = examples.add.enqueue(1)
            assert eventually(lambda: result.refresh() or result.is_finished)
        finally:
            worker.stop.set()
            thread.join(30)
        assert result.return_value == 1

    def test_defect_6_4_7_old_results_go_in_batches_whatever_their_queue(
        self, tasks: Jobs, settings: Any
    ) -> None:
        settings.TASKS = {"default": {"BACKEND": "jobs.backend.JobsBackend", "QUEUES": []}}
        for queue in ("default", "mail", "default", "mail"):
            examples.add.using(queue_name=queue).enqueue(1)
        tasks.drain()
        assert tasks.value("SELECT count(*) FROM jobs WHERE state = 'SUCCEEDED'") == 4
        tasks.execute("UPDATE jobs SET created_at = now() - interval '9 days', "
                      "completed_at = now() - interval '8 days'")  # fmt: skip
        left: list[int] = []

        def stop() -> bool:
            left.append(tasks.value("SELECT count(*) FROM jobs"))
            return False

        list(retention.prune(retention.Keep(logs=False), batch=3, stop=stop))

        assert left[:2] == [1, 0]

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
