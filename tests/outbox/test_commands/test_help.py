from __future__ import annotations

import re
import subprocess
import sys

import pytest
from django.core.management import call_command

from tests.processes import ROOT, environment


class TestHelp:
    @pytest.mark.parametrize(
        "words",
        [
            *(["outbox_dlq", name] for name in ("list", "show", "requeue", "resolve", "discard")),
            *(["outbox_dlq", name] for name in ("restore", "resend")),
            *(["outbox_dlq"], ["outbox_stats"], ["outbox_prune"]),
        ],
    )
    def test_every_option_is_explained_and_documented(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            call_command(*words, "--help") if len(words) == 1 else help_of(*words)

        assert ended.value.code == 0
        text = capsys.readouterr().out
        page = (ROOT / f"docs/reference/{words[0]}.md").read_text()
        for option in set(re.findall(r"--[a-z][a-z-]+", text)) - DJANGOS:
            assert option in page, option

    @pytest.mark.parametrize(
        ("option", "told"),
        [
            ("--rate", "'none' is no rate; give a number above 0."),
            ("--batch", "'none' is no id of a run."),
        ],
    )
    def test_misuse_as_a_process_is_2(self, option: str, told: str) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "outbox_dlq", "requeue", option, "none"],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 2
        assert told in done.stderr


DJANGOS = {
    *("--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback"),
    *("--no-color", "--force-color", "--skip-checks", "--class"),
}


def help_of(command: str, subcommand: str) -> None:
    from django.core.management import load_command_class

    load_command_class("outbox", command).create_parser("manage.py", command).parse_args(
        [subcommand, "--help"]
    )
