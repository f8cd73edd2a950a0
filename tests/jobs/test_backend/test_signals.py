"""Signals of tasks."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from hodei.compat import (
    TASKS_LOGGER,
    TaskResultStatus,
    signals,
)
from jobs import task_results
from jobs.backend import JobsBackend
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.jobs.test_backend.kit import Heard, listening
from tests.processes import eventually


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

    def test_a_run_that_is_tried_again_is_logged_too_and_each_failure_once(
        self, tasks: Jobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Django is told of ends alone, and nobody would see why a task takes long."""
        examples.ask_for_retry.enqueue(0.0)
        with caplog.at_level(logging.WARNING):
            tasks.drain()

        said = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert [(one.name, one.levelname) for one in said] == [
            ("jobs.worker", "WARNING"),
            (TASKS_LOGGER, "ERROR"),
        ]
        assert "attempt=1/2 again_in=0.0" in said[0].getMessage()

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
