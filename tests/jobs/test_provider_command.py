"""jobs_provider, as a person uses it."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from jobs.models import Provider
from jobs.services import workers
from tests.jobs.conftest import Jobs

pytestmark = pytest.mark.django_db
WHY = ("--reason", "a test")


def command(*words: str) -> str:
    out = StringIO()
    call_command("jobs_provider", *words, stdout=out)
    return out.getvalue()


def refused(*words: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as found:
        command(*words)
    return found.value.returncode, str(found.value)


@pytest.fixture
def config(jobs: Jobs, tmp_path: Path) -> str:
    file = tmp_path / "config.json"
    file.write_text('{"concurrency": 2, "password": "hunter2"}')
    return str(file)


def test_a_provider_s_life(jobs: Jobs) -> None:
    assert command("list") == "There are no providers.\n"
    said = command("add", "here", "--type", "process", "--max-workers", "3")
    found = Provider.objects.get()
    assert said == f"Provider here is added, and ACTIVE; its id is {found.pk}.\n"
    assert command("list").splitlines()[1] == "here  process  ACTIVE  0 of 3   0"
    assert command("disable", "here", *WHY) == "Provider here is now disabled.\n"
    assert command("disable", "here", *WHY) == "Provider here is already disabled.\n"
    assert "DISABLED" in command("list")
    assert command("enable", "here", *WHY) == "Provider here is now enabled.\n"
    assert command("remove", "here", *WHY) == "Provider here is removed.\n"
    assert command("list") == "There are no providers.\n"


def test_a_change_keeps_what_was_not_given(config: str, tmp_path: Path) -> None:
    can = tmp_path / "can.json"
    can.write_text('{"cpu": 4}')
    command("add", "here", "--type", "process", "--config", config, "--capabilities", str(can),
            "--tags", "a, b")  # fmt: skip

    assert command("change", "here", "--priority", "7") == "Provider here is changed.\n"

    (found,) = json.loads(command("list", "--format", "json"))["providers"]
    assert (found["priority"], found["max_workers"], found["tags"]) == (7, 10, ["a", "b"])
    assert found["capabilities"] == {"cpu": 4}
    assert found["config"] == {"concurrency": 2, "password": "[redacted]"}
    assert Provider.objects.get().config["password"] == "hunter2"


def test_workers_that_live_are_counted(jobs: Jobs) -> None:
    workers.register_local(resource_id="here", spec={})

    assert "  1 of " in command("list")
    code, said = refused("remove", "local", *WHY)
    assert (code, "cannot be deleted" in said) == (1, True)


def test_a_config_comes_from_a_pipe_too(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO('{"queues": ["mail"]}'))
    command("add", "here", "--type", "process", "--config", "-")

    assert Provider.objects.get().config == {"queues": ["mail"]}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("add",), 2, "Give the name"),
        (("list", "a"), 2, "list takes no name"),
        (("add", "a"), 2, "Give its type"),
        (("add", "a", "--type", "nonsense"), 2, "provider_type is 'nonsense'"),
        (("add", "a\0", "--type", "process"), 2, "name"),
        (
            ("add", "a", "--type", "process", "--max-workers", "0"),
            *(1, "'0' is no number of workers; give 1 to 1,000,000."),
        ),
        (("change", "taken", "--max-workers", "few"), 1, "'few' is no number of workers; give 1"),
        (
            ("change", "taken", "--priority", "1000001"),
            *(1, "'1000001' is no priority; give -1,000,000 to 1,000,000."),
        ),
        (("add", "a", "--type", "process", "--config", "/nowhere"), 2, "Cannot read /nowhere"),
        (("add", "taken", "--type", "process"), 1, "another provider of the name 'taken'"),
        (("change", "taken"), 2, "Give what is to be changed"),
        (("change", "nobody", "--priority", "1"), 1, "There is no provider 'nobody'"),
        (("enable", "nobody", *WHY), 1, "There is no provider 'nobody'"),
        (("disable", "taken"), 2, "Say why"),
        (("disable", "taken", "--reason", "  "), 2, "Say why"),
        (("list", "--max-workers", "3"), 2, "list takes no --max-workers; add and change do."),
        (("enable", "taken", "--type", "docker", *WHY), 2, "enable takes no --type; add and"),
        (("add", "a", "--type", "process", *WHY), 2, "add takes no --reason; enable, disable and"),
        (("list", *WHY), 2, "list takes no --reason"),
        (("add", "a", "--type", "process", "--format", "json"), 2, "add takes no --format json"),
        (("explode",), 1, "invalid choice"),
        (("list", "--database", "nowhere"), 2, "nowhere"),
    ],
)
def test_misuse(jobs: Jobs, words: Any, code: int, text: str) -> None:
    command("add", "taken", "--type", "process")

    found, said = refused(*words)

    assert (found, text in said) == (code, True), said


def test_a_config_is_an_object(jobs: Jobs, tmp_path: Path) -> None:
    for number, content in enumerate(("[1]", "{")):
        file = tmp_path / str(number)
        file.write_text(content)
        assert refused("add", "a", "--type", "process", "--config", str(file))[0] == 2


def test_a_row_that_the_database_refuses_is_not_shown(config: str) -> None:
    """As one that has migrated half-way says it: the row has the password."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE provider_configs ADD CONSTRAINT odd CHECK (name <> 'here')")

    code, said = refused("add", "here", "--type", "process", "--config", config)

    assert code == 3
    assert said == (
        'Could not use database \'default\': "new row for relation "provider_configs" violates '
        'check constraint "odd"". Check the role\'s rights, and what else runs there.'
    )


def test_a_database_that_is_read_only_is_told_as_one(jobs: Jobs) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL transaction_read_only = on")

    code, said = refused("add", "here", "--type", "process")

    assert code == 3
    assert said.startswith("Nothing can be written to database 'default': \"cannot execute ")


def test_a_name_with_lines_makes_no_rows(jobs: Jobs) -> None:
    Provider.objects.create(
        name="a\nb\tc", provider_type="process", config={}, max_workers=1, status="ACTIVE"
    )

    assert command("list").splitlines()[1].startswith(r"a\nb\tc  process")
