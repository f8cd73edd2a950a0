"""Every option of a command is explained, and its page in the reference has it."""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import BaseCommand, call_command, load_command_class

import jobs

ROOT = Path(jobs.__file__).parents[1]
COMMANDS = sorted(path.stem for path in (ROOT / "jobs/management/commands").glob("jobs_*.py"))
#: What Django gives to every command.
DJANGOS = {
    option
    for action in BaseCommand().create_parser("manage.py", "any")._actions
    for option in action.option_strings
}


def parsers(name: str) -> Iterator[ArgumentParser]:
    """The parser of a command, and those of its subcommands."""
    found = load_command_class("jobs", name).create_parser("manage.py", name)
    yield found
    for action in found._actions:
        if isinstance(action, _SubParsersAction):
            yield from dict.fromkeys(action.choices.values())


def arguments(name: str) -> Iterator[Any]:
    for parser in parsers(name):
        for action in parser._actions:
            if isinstance(action, _SubParsersAction):
                continue
            if not action.option_strings or DJANGOS.isdisjoint(action.option_strings):
                yield action


def test_these_are_all() -> None:
    assert [name.removeprefix("jobs_") for name in COMMANDS] == [
        *("act", "enqueue", "list", "logs", "provider", "prune", "requeue", "schedule", "show"),
        *("stats", "worker"),
    ]


@pytest.mark.parametrize("name", COMMANDS)
class TestHelp:
    def test_every_argument_is_explained(self, name: str) -> None:
        for action in arguments(name):
            assert action.help not in {None, "", SUPPRESS}, action
            assert re.search(r"[.)]$", str(action.help)), action.help

    def test_every_option_is_in_the_reference(self, name: str) -> None:
        page = (ROOT / f"docs/reference/{name}.md").read_text()
        for action in arguments(name):
            words = [option for option in action.option_strings if option.startswith("--")]
            assert not words or any(option in page for option in words), words

    def test_it_is_shown_without_a_database(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The test has none, and pytest-django would say so."""
        with pytest.raises(SystemExit) as ended:
            call_command(name, "--help")

        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith("usage: ")
        first = load_command_class("jobs", name).help.split(".")[0]
        assert " ".join(first.split()) in " ".join(text.split())
        assert max(map(len, text.splitlines())) <= 100
