"""``jobs_worker``: what it says, and how it ends where it cannot begin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from hodei.schema.management.reports import MISUSE, UNVERIFIED
from tests.jobs.conftest import Jobs


def test_it_drains_and_says_how_many(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    jobs.enqueue(1)
    jobs.enqueue(2)

    call_command("jobs_worker", "--drain", "--concurrency", "1")

    said = capsys.readouterr()
    assert said.out == "2 runs\n"
    assert re.fullmatch(
        r"Worker [0-9a-f-]{36} runs test jobs of every queue, 1 at once\.\n", said.err
    )


@pytest.mark.parametrize("name", ["JOBS_AUDIT", "JOBS_EVENTS", "JOBS_EXECUTORS"])
def test_a_wrong_setting_is_misuse(name: str, settings: Any) -> None:
    setattr(settings, name, "wrong")

    with pytest.raises(CommandError, match=f"{name} is 'wrong'; it is") as raised:
        call_command("jobs_worker", "--drain")
    assert raised.value.returncode == MISUSE


def test_a_database_that_is_not_there(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, whatever was not begun yet."""
    import psycopg

    def refuse(*_args: Any, **_options: Any) -> Any:
        raise psycopg.OperationalError("connection\nrefused")

    monkeypatch.setattr("jobs.worker.connect", refuse)
    with pytest.raises(CommandError, match="cannot be used: connection refused") as raised:
        call_command("jobs_worker", "--drain")
    assert raised.value.returncode == UNVERIFIED
