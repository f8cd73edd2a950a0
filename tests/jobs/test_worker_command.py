"""``jobs_worker``: what it says, and how it ends where it cannot begin."""

from __future__ import annotations

import re
import signal
import threading
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from hodei.schema.management.reports import MISUSE, UNVERIFIED
from hodei.sessions import connect
from jobs import leases
from jobs.management.commands import jobs_worker
from jobs.runs import Run
from jobs.worker import Worker
from tests.jobs.conftest import Jobs


def begun(worker: Worker) -> Run:
    """The run of the job that waits, begun by this worker."""
    with connect("default", "test") as session:
        (claimed,) = leases.claim(session, worker.id, ["default"], 1, starting=1)
    run = Run(claimed, worker.id)
    worker._held.begin(run)
    return run


def test_it_drains_and_says_how_many(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    jobs.enqueue(1)
    jobs.enqueue(2)

    call_command("jobs_worker", "--drain", "--concurrency", "1")

    said = capsys.readouterr()
    assert said.out == "2 runs\n"
    assert re.fullmatch(
        r"Worker [0-9a-f-]{36} runs test jobs of every queue, 1 at once\.\n", said.err
    )


def test_a_claim_is_no_larger_than_it_may_be(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[int] = []
    claim = leases.claim

    def counting(*args: Any, **options: Any) -> list[Any]:
        found = claim(*args, **options)
        claimed.append(len(found))
        return found

    monkeypatch.setattr("jobs.worker.leases.claim", counting)
    for n in range(20):
        jobs.enqueue(n)

    call_command("jobs_worker", "--drain", "--concurrency", "8", "--batch", "3")

    assert (sum(claimed), max(claimed)) == (20, 3)


def test_the_first_signal_lets_what_runs_finish_however_it_came_to_end(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was told to drain by its row ends already when a supervisor's SIGTERM comes."""
    jobs.enqueue(1)
    monkeypatch.setattr(jobs_worker.os, "_exit", lambda _code: None)
    worker = jobs.worker()
    run = begun(worker)
    restore = jobs_worker._stop_by_signals(worker)
    try:
        worker.stop.set()
        signal.raise_signal(signal.SIGTERM)
    finally:
        restore()

    assert not run.stopping.is_set()


def test_the_second_signal_waits_for_nothing_that_it_has_interrupted(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.enqueue(1)
    left = threading.Event()
    monkeypatch.setattr(jobs_worker.os, "_exit", lambda _code: left.set())
    worker = jobs.worker()
    run = begun(worker)
    restore = jobs_worker._stop_by_signals(worker)
    try:
        with worker._held._mutex:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        assert run.stopping.wait(30)
        assert left.wait(30)
    finally:
        restore()


@pytest.mark.parametrize("name", ["JOBS_AUDIT", "JOBS_EVENTS", "JOBS_EXECUTORS"])
def test_a_wrong_setting_is_misuse(name: str, settings: Any) -> None:
    setattr(settings, name, "wrong")

    with pytest.raises(CommandError, match=f"{name} is 'wrong'; it is") as raised:
        call_command("jobs_worker", "--drain")
    assert raised.value.returncode == MISUSE


@pytest.mark.parametrize(
    "words",
    [
        ["jobs_worker", "--drain"],
        ["jobs_enqueue", "--", "echo"],
        ["jobs_show", str(uuid.uuid4())],
        ["jobs_logs", str(uuid.uuid4())],
        ["jobs_stats"],
        ["jobs_schedule", "list"],
        ["jobs_provider", "list"],
        ["jobs_prune", "--dry-run"],
        ["jobs_requeue", "--dry-run"],
    ],
    ids=lambda words: words[0],
)
def test_a_database_that_is_no_postgresql(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Django's own startproject sets up, for one."""
    monkeypatch.setattr(connections["default"], "vendor", "sqlite")

    with pytest.raises(CommandError, match="Hodei works on PostgreSQL alone: set") as raised:
        call_command(*words)
    assert raised.value.returncode == MISUSE


def test_a_database_that_is_not_there(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, whatever was not begun yet."""
    import psycopg

    def refuse(*_args: Any, **_options: Any) -> Any:
        raise psycopg.OperationalError("connection\nrefused")

    monkeypatch.setattr("jobs.presence.connect", refuse)
    with pytest.raises(CommandError, match=r"Cannot use database .*connection refused") as raised:
        call_command("jobs_worker", "--drain")
    assert raised.value.returncode == UNVERIFIED
