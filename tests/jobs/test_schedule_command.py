"""jobs_schedule, as a person uses it."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from jobs.services import schedules
from tests.jobs.conftest import Jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def spec(jobs: Jobs, tmp_path: Any) -> str:
    file = tmp_path / "spec.json"
    file.write_text('{"test": {"do": "succeed", "password": "hunter2"}}')
    return str(file)


def command(*words: str) -> str:
    out = StringIO()
    call_command("jobs_schedule", *words, stdout=out)
    return out.getvalue()


def refused(*words: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as found:
        command(*words)
    return found.value.returncode, str(found.value)


def test_a_schedule_s_life(spec: str) -> None:
    assert command("list") == "There are no schedules.\n"
    said = command("add", "nightly", "--cron", "30 2 * * *", "--zone", "Asia/Tokyo", "--spec", spec)
    assert said.startswith("Schedule nightly is added, and due first at ")
    assert " 17:30 UTC." in said
    assert command("disable", "nightly") == "Schedule nightly is now disabled.\n"
    assert command("disable", "nightly") == "Schedule nightly is already disabled.\n"
    assert command("list").splitlines()[1] == (
        "nightly  30 2 * * *  Asia/Tokyo  SKIP ONCE  disabled"
    )
    assert command("enable", "nightly") == "Schedule nightly is now enabled.\n"
    assert "removed" in command("remove", "nightly")
    assert command("list") == "There are no schedules.\n"


def test_json_without_secrets(spec: str) -> None:
    command("add", "a", "--cron", "0 0 1 1 *", "--spec", spec, "--queue", "q", "--timeout", "5")

    text = command("list", "--format", "json")

    assert "hunter2" not in text
    (found,) = json.loads(text)["schedules"]
    assert set(found) == {
        *("name", "cron", "time_zone", "enabled", "overlap", "missed", "spec", "options"),
        *("next_run_at", "last_run_at", "last_job"),
    }
    assert found["options"] == {"queue": "q", "timeout": 5.0}


def test_a_table_fits(spec: str, jobs: Jobs) -> None:
    command("add", "n" * 100, "--cron", "1,2,3,4,5,6,7,8,9,10 " + "* " * 4, "--zone",
            "America/Argentina/ComodRivadavia", "--spec", spec, "--overlap", "REPLACE")  # fmt: skip

    assert max(map(len, command("list").splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("add",), 2, "Give the name"),
        (("list", "a"), 2, "list takes no name"),
        (("add", "a"), 2, "Give the times"),
        (("add", "a", "--cron", "* * * * *"), 2, "Give either --command"),
        (("add", "a", "--cron", "nonsense", "--spec", "SPEC"), 2, "cron is 'nonsense'"),
        (("add", "a", "--cron", "* * * * *", "--spec", "/nowhere"), 2, "Cannot read /nowhere"),
        (("add", "a", "--cron", "* * * * *", "--spec", "SPEC", "--zone", "X"), 2, "time_zone"),
        (("add", "a\0", "--cron", "* * * * *", "--spec", "SPEC"), 2, "name is"),
        (("add", "a", "--cron", "* * * * *", "--command", "echo", "--x"), 2, "spec has 'command'"),
        (("add", "a", "--priority", "101"), 1, "'101' is no priority; give -100 to 100."),
        (("add", "a", "--timeout", "0"), 1, "'0' is no number of seconds; give 0.001 to 2,592,000"),
        (("add", "a", "--cron", "* * * * *", "--spec", "SPEC", "--command", "echo"), 2, "either"),
        (("change", "nobody", "--cron", "* * * * *"), 1, "There is no schedule 'nobody'"),
        (("change", "nobody"), 2, "Give what is to be different of nobody."),
        (("enable", "nobody"), 1, "There is no schedule 'nobody'"),
        (("enable", "a", "--zone", "UTC"), 2, "enable takes no --zone; add and change do."),
        (("list", "--command", "echo"), 2, "list takes no --command; add and change do."),
        (("enable", "a", "--priority", "0"), 2, "enable takes no --priority; add and change do."),
        (("enable", "a", "--format", "json"), 2, "enable takes no --format json; list does."),
        (("change", "a", "--cron", "* * * * *", "--command"), 2, "Give either --command"),
        (("change", "a", "--cron", "* * * * *", "--spec", ""), 2, "Give either --command"),
        (("remove", "nobody"), 1, "There is no schedule"),
        (("explode",), 1, "invalid choice"),
        (("list", "--database", "nowhere"), 2, "nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    spec: str, words: tuple[str, ...], code: int, text: str
) -> None:
    found, said = refused(*(spec if word == "SPEC" else word for word in words))

    assert text in said
    assert "\n" not in said
    assert found == code
    assert schedules.find() == []


def test_what_is_given_is_changed_and_nothing_else(spec: str, jobs: Jobs) -> None:
    command("add", "a", "--cron", "0 0 1 1 *", "--spec", spec, "--queue", "q", "--timeout", "5")
    (before,) = schedules.find()

    said = command("change", "a", "--missed", "ALL", "--priority", "7")
    (now,) = schedules.find()
    assert said.startswith("Schedule a is changed, and due next at ")
    assert (now.missed, now.options) == ("ALL", {"queue": "q", "timeout": 5.0, "priority": 7})
    assert (now.cron, now.overlap, now.spec) == (before.cron, before.overlap, before.spec)
    assert now.next_run_at == before.next_run_at

    command("change", "a", "--cron", "30 2 * * *", "--zone", "Asia/Tokyo", "--overlap", "QUEUE")
    (now,) = schedules.find()
    assert (now.cron, now.time_zone, now.overlap) == ("30 2 * * *", "Asia/Tokyo", "QUEUE")
    assert (now.next_run_at.hour, now.next_run_at.minute) == (17, 30)

    assert refused("change", "a", "--cron", "nonsense")[0] == 2
    assert schedules.find()[0].cron == "30 2 * * *"


def test_one_that_is_there_is_kept(spec: str) -> None:
    words = ("add", "a", "--spec", spec, "--cron")
    command(*words, "0 0 * * *")

    assert refused(*words, "1 1 * * *") == (
        1,
        "There is a schedule 'a' already; remove it, or change it.",
    )
