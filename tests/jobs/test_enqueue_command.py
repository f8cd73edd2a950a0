"""jobs_enqueue, as a person uses it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from jobs.models import Job
from tests.jobs.conftest import Commands

pytestmark = pytest.mark.django_db


def command(*words: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("jobs_enqueue", *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_program_with_what_is_its_own(commands: Commands) -> None:
    before = datetime.now(UTC)

    said, beside = command(
        *("--queue", "mail", "--name", "greet", "--priority", "-7", "--delay", "3600"),
        *("--timeout", "0.5", "--max-attempts", "5", "--key", "k", "--", "echo", "--x", "a b"),
    )

    job = Job.objects.get()
    assert (said, beside) == (f"{job.pk}\n", "")
    assert job.spec == {"command": {"type": "shell", "cmd": "echo", "args": ["--x", "a b"]}}
    assert (job.queue, job.name, job.priority, job.max_attempts) == ("mail", "greet", -7, 5)
    assert job.timeout == timedelta(seconds=0.5)
    assert job.run_after is not None
    assert timedelta() <= job.run_after - before - timedelta(hours=1) < timedelta(minutes=1)
    assert commands.place(job.pk) == ["job_queue_deferred"]


def test_of_nothing_it_has_what_every_job_has(commands: Commands) -> None:
    command("--", "echo", "--password", "hush")

    job = Job.objects.get()
    assert (job.queue, job.priority, job.max_attempts) == ("default", 0, 3)
    assert (job.timeout, job.run_after) == (None, None)
    assert job.name == "echo --password [redacted]"


def test_a_key_that_is_known(commands: Commands) -> None:
    first, _ = command("--key", "order 4711", "--", "echo")
    again, beside = command("--key", "order 4711", "--", "true")

    assert uuid.UUID(first.strip())
    assert again == first
    assert beside == "There was a job with this key already; nothing was enqueued.\n"


def test_a_spec_from_a_pipe(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.stdin",
        StringIO('{"command": {"type": "script", "interpreter": "sh", "content": "true"}}'),
    )
    command("--spec", "-")

    assert Job.objects.get().spec["command"]["type"] == "script"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "Give either a command after two dashes (jobs_enqueue -- echo hello) or --spec"),
        (("--spec", "x.json", "--", "echo"), 2, "Give either a command"),
        (("--spec", "/nowhere"), 2, "Cannot read /nowhere: No such file"),
        (("--priority", "101", "--", "echo"), 1, "'101' is no priority; give -100 to 100."),
        (("--priority", "high", "--", "echo"), 1, "'high' is no priority; give -100 to 100."),
        (("--delay", "-1", "--", "echo"), 1, "give 0 to 3,153,600,000."),
        (("--delay", "1e10", "--", "echo"), 1, "'1e10' is no number of seconds; give 0 to 3,153"),
        (("--delay", "soon", "--", "echo"), 1, "'soon' is no number of seconds; give 0 to"),
        (("--timeout", "0", "--", "echo"), 1, "'0' is no number of seconds; give 0.001 to 2,592,"),
        (("--timeout", "nan", "--", "echo"), 1, "'nan' is no number of seconds; give 0.001 to"),
        (("--timeout", "2592001", "--", "echo"), 1, "give 0.001 to 2,592,000."),
        (("--max-attempts", "0", "--", "echo"), 1, "'0' is no number of runs; give 1 to 1,000."),
        (("--max-attempts", "1.5", "--", "echo"), 1, "'1.5' is no number of runs; give 1 to"),
        (("--queue", "", "--", "echo"), 2, "queue is ''"),
    ],
)
def test_misuse(
    commands: Commands, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    with pytest.raises(CommandError) as found:
        command(*words)

    assert (found.value.returncode, message in str(found.value)) == (code, True), found.value
    assert not Job.objects.exists()


@pytest.mark.parametrize("longest", ["--timeout=2592000", "--delay=3153600000"])
def test_what_is_just_allowed(commands: Commands, longest: str) -> None:
    command(longest, "--max-attempts=1000", "--priority=100", "--", "echo")

    found: Any = Job.objects.get()
    assert (found.max_attempts, found.priority) == (1_000, 100)
