"""The threads that all runs of a worker need: nothing that a run does may end one of them."""

from __future__ import annotations

import sys
import threading
import uuid
from typing import Any

import psycopg
import pytest
from django.db import connection, connections

from jobs import leases
from jobs.deadlines import Deadlines
from jobs.held import Held
from jobs.runs import Outcome, Run
from jobs.services import lifecycle
from tests.jobs import executors
from tests.jobs.conftest import Jobs
from tests.jobs.kit import running
from tests.jobs.test_held import claimed
from tests.processes import eventually


def test_one_limit_that_cannot_be_kept_keeps_no_other_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given_up: list[Run] = []
    there = threading.Event()

    def end(run: Run, _: Any) -> bool:
        given_up.append(run)
        there.set()
        return True

    held = Held(2)
    runs = [Run(job._replace(started=True), uuid.uuid4()) for job in claimed(2)]
    for run in runs:
        run.deadline = 0.0
        held.begin(run)
    runs[0].grace = None  # type: ignore[assignment]
    deadlines = Deadlines(held, end)
    deadlines.start()
    try:
        assert there.wait(30)
    finally:
        deadlines.stop()
    assert set(map(id, given_up)) == {id(runs[1])}
    assert "a limit cannot be kept" in caplog.text


def test_what_is_no_error_of_the_database_costs_no_result(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finish = leases.finish
    calls: list[int] = []

    def fail_once(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("not of the database")
        return finish(*args)

    monkeypatch.setattr(leases, "finish", fail_once)
    job, worker = jobs.enqueue(), jobs.worker()
    with running(worker):
        assert eventually(lambda: jobs.state(job) == "SUCCEEDED")
    assert "not of the database" in caplog.text


def test_what_is_called_at_a_stop_ends_nobody() -> None:
    (job,) = claimed(1)
    run = Run(job, uuid.uuid4())
    run.on_stop(lambda: sys.exit(3))
    run.stop(cancelled=True)
    assert run.stopping.is_set()


@pytest.mark.parametrize("odd", [{"backoff": "soon"}, {"cancelled": 1, "backoff": 7}])
def test_an_executor_may_set_what_makes_no_sense(jobs: Jobs, odd: Any) -> None:
    job, other = jobs.enqueue(0, "fail", set=odd, max_attempts=2), jobs.enqueue(1)
    worker = jobs.worker()
    with running(worker):
        assert eventually(lambda: jobs.state(other) == "SUCCEEDED")
        expected = "CANCELLED" if "cancelled" in odd else "PENDING"
        assert eventually(lambda: jobs.state(job) == expected)
    assert jobs.value("SELECT count(*) FROM job_leases") == 0


def test_of_two_leases_of_one_job_the_older_is_lost(
    jobs: Jobs, session: psycopg.Connection[Any]
) -> None:
    jobs.enqueue()
    worker = jobs.worker(concurrency=2)
    runs = []
    for _ in range(2):
        (job,) = leases.claim(session, worker.id, ["default"], 1, starting=1)
        runs.append(Run(job, worker.id))
        worker._held.begin(runs[-1])
        if len(runs) == 1:
            session.execute("UPDATE job_leases SET expires_at = now() - interval '1 s'")
            leases.rescue(session)
    worker._finisher._renew(session)
    assert [run.lost for run in runs] == [True, False]


class Unready(executors.Scripted):
    def open(self, slots: int) -> None:
        raise KeyError("a setting of its own")


class Unwilling(executors.Scripted):
    def close(self) -> None:
        raise KeyError("a setting of its own")


@pytest.mark.parametrize("kind", ["Unready", "Unwilling"])
def test_a_worker_leaves_whatever_its_executors_raise(
    jobs: Jobs, settings: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.JOBS_EXECUTORS = {"test": f"{__name__}.{kind}"}
    job = jobs.enqueue()
    if kind == "Unready":
        with pytest.raises(KeyError, match="a setting of its own"):
            jobs.drain()
    else:
        assert jobs.drain() == [0]
        assert "an executor could not be closed" in caplog.text
    assert jobs.rows("SELECT state FROM workers") == [("TERMINATED",)]
    assert jobs.state(job) == ("PENDING" if kind == "Unready" else "SUCCEEDED")


def test_runs_are_counted_that_are_run(
    jobs: Jobs, session: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is cancelled in the worker, before it begins, is none of --max-jobs."""
    asked = leases.start
    cancelled: list[Any] = []

    def start(session: Any, waiting: Any) -> Any:
        if not cancelled:
            cancelled.append(waiting[0].id)
            lifecycle.cancel(waiting[0].id, reason="no", actor="me")
            connections.close_all()
        return asked(session, waiting)

    monkeypatch.setattr(leases, "start", start)
    monkeypatch.setattr("jobs.held.Held.to_start", lambda _: 0)
    for n in range(4):
        jobs.enqueue(n)
    assert jobs.drain(max_jobs=3) == [1, 2, 3]


class Asking(executors.Scripted):
    def run(self, run: Run) -> Outcome:
        with connection.cursor() as cursor:
            if run.spec["test"]["do"] == "fail":
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            cursor.execute("SELECT 1")
        return super().run(run)


def test_a_connection_that_broke_costs_the_next_run_nothing(jobs: Jobs, settings: Any) -> None:
    settings.JOBS_EXECUTORS = {"test": f"{__name__}.Asking"}
    first, second = jobs.enqueue(1, "fail", max_attempts=1), jobs.enqueue(2)
    jobs.drain()
    assert [jobs.state(first), jobs.state(second)] == ["FAILED", "SUCCEEDED"]
