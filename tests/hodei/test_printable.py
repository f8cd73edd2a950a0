"""What is stored is written to a terminal without moving, colouring or turning anything there."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import call_command

from hodei.values import printable
from jobs.services.queue import enqueue
from tests.jobs import executors

pytestmark = pytest.mark.django_db

EVIL = "a\x1b[2J\x1b]0;title\x07b\u202ec\x9b31md\re"


def test_controls_are_written_out_and_lines_stay() -> None:
    assert printable("a\tb\nc \u00e9 \u0434 \U0001f600") == "a\tb\nc \u00e9 \u0434 \U0001f600"
    assert printable(EVIL) == "a\\x1b[2J\\x1b]0;title\\x07b\\u202ec\\x9b31md\\re"


@pytest.fixture
def job(settings: Any) -> str:
    assert executors.Scripted
    settings.JOBS_EXECUTORS = {"test": "tests.jobs.executors.Scripted"}
    found = enqueue(spec={"test": {"do": "succeed"}}, name=EVIL, queue=EVIL, correlation_id=EVIL)
    return str(found.id)


@pytest.mark.parametrize("command", ["jobs_show", "jobs_stats"])
def test_commands_print_nothing_that_a_terminal_obeys(job: str, command: str) -> None:
    said = io.StringIO()

    call_command(command, *([job] if command == "jobs_show" else []), stdout=said)

    assert "\\x1b[2J" in said.getvalue()
    assert not set("\x1b\x07\x9b\r\u202e") & set(said.getvalue())
