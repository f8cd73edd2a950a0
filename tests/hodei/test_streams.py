"""What stdout cannot take, and streams that are closed: one line, a code, and nothing undone."""

from __future__ import annotations

import shlex
import subprocess
import sys
import uuid

import pytest
from django.core.management.base import CommandError
from django.db import connections

from hodei.schema.management.output import StreamCommand
from jobs.models import Job
from tests.processes import ROOT, environment

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]

NAME = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
FULL = "CommandError: Cannot write to stdout: No space left on device. What was done before stays"
#: Whether Python writes each line at once, or what is in its buffer at the end.
BOTH = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])


def run(words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command on the test database, redirected as a shell does it."""
    found = connections["default"].settings_dict
    url = "postgresql://{USER}@/{NAME}?host={HOST}&port={PORT}".format(**found)
    env = environment(DATABASE_URL=url, PGPASSWORD=str(found["PASSWORD"] or ""), **variables)
    return subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} manage.py {words}"],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@BOTH
def test_a_full_disk_is_told_and_undoes_nothing(unbuffered: str) -> None:
    done = run("jobs_enqueue -- echo hello >/dev/full", PYTHONUNBUFFERED=unbuffered)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"{FULL} done.\n"
    assert Job.objects.count() == 1


def test_a_full_disk_is_told_of_a_command_without_a_database() -> None:
    done = run("outbox_stream check >/dev/full")

    assert (done.returncode, done.stderr) == (3, f"{FULL} done.\n")


@pytest.mark.parametrize("words", ["jobs_stats", "jobs_enqueue -- echo hello"])
def test_who_closes_stdout_wants_to_read_nothing(words: str) -> None:
    done = run(f"{words} >&-")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_stderr_changes_no_exit_code() -> None:
    assert run(f"jobs_show {uuid.UUID(int=1)} 2>&-").returncode == 1


@pytest.mark.parametrize(
    "words",
    ["jobs_enqueue --spec -", "jobs_provider add x --type process --config -"],
)
def test_a_closed_stdin_holds_no_json(words: str) -> None:
    done = run(f"{words} <&-")

    assert done.returncode == 2
    assert done.stderr.startswith("CommandError: - is no JSON: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_character_that_the_terminal_lacks_is_written_as_python_does() -> None:
    added = run(
        f"jobs_schedule add {NAME} --cron '0 0 1 1 *' --command echo", PYTHONIOENCODING="ascii"
    )
    listed = run("jobs_schedule list", PYTHONIOENCODING="ascii")

    assert (added.returncode, listed.returncode) == (0, 0)
    assert added.stdout.startswith(r"Schedule caf\xe9 is added")
    assert r"caf\xe9" in listed.stdout
    assert NAME in run("jobs_schedule list", PYTHONIOENCODING="utf-8").stdout


class Failing(StreamCommand):
    requires_system_checks = ()

    def handle(self, *_args: object, **_options: object) -> None:
        raise CommandError("the destination says \x1b[2J, and\ntwo lines")


def test_what_others_have_said_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Failing().run_from_argv(["manage.py", "failing"])

    assert capsys.readouterr().err == (
        "CommandError: the destination says \\x1b[2J, and\ntwo lines\n"
    )
