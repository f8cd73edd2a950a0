"""What a reset asks before it does anything: which apps, whether it may, and the name."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from hodei.schema import MigrationService
from hodei.schema.reset.choice import AppsNotChosen
from hodei.schema.reset.guards import (
    ResetNotAllowed,
    ResetNotConfirmed,
)
from tests.schema.test_reset.kit import (
    A_VIEW,
    Install,
    execute,
    name_of,
    outcomes,
    reset,
    unchanged,
)


class TestChoice:
    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["depto"], "There is no app 'depto'. Did you mean depot"),
            (["bare"], "App 'bare' has no migrations"),
        ],
    )
    def test_what_cannot_be_chosen(
        self, alias: str, install: Install, words: list[str], told: str
    ) -> None:
        install("depot", "bare")
        with pytest.raises(CommandError, match=told) as caught:
            reset(alias, *words)
        assert caught.value.returncode == 2

    def test_no_app_says_that_it_is_meant(self, alias: str, install: Install) -> None:
        install("ledger")
        with pytest.raises(AppsNotChosen, match="so the apps must be named"):
            MigrationService(alias).plan_reset()


class TestAllowed:
    def test_refused_unless_the_setting_is_true(self, depot: str, settings: Any) -> None:
        plan = MigrationService(depot).plan_reset()
        with unchanged(depot):
            for value in (False, None, "1", 1):
                settings.HODEI_ALLOW_RESET = value
                with pytest.raises(ResetNotAllowed, match="HODEI_ALLOW_RESET = True"):
                    MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
            with pytest.raises(CommandError) as caught:
                reset(depot)
            assert caught.value.returncode == 1

    @pytest.mark.parametrize("debug", [True, False])
    def test_without_the_setting_it_is_what_debug_is(
        self, depot: str, settings: Any, debug: bool
    ) -> None:
        del settings.HODEI_ALLOW_RESET
        settings.DEBUG = debug
        if debug:
            assert "Reset: " in reset(depot)
        else:
            with unchanged(depot), pytest.raises(CommandError, match="do not allow a reset"):
                reset(depot)

    @pytest.mark.parametrize(
        ("variables", "allowed"),
        [
            ({}, "False"),
            ({"DEBUG": "1"}, "True"),
            ({"HODEI_ALLOW_RESET": "1"}, "True"),
            ({"DEBUG": "1", "HODEI_ALLOW_RESET": "0"}, "False"),
        ],
    )
    def test_by_the_environment(self, variables: dict[str, str], allowed: str) -> None:
        from tests.processes import environment

        code = "from hodei import settings; print(settings.HODEI_ALLOW_RESET)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(**{"HODEI_ALLOW_RESET": "", **variables}),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == allowed


class TestConfirmed:
    def test_another_name_is_refused(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        with unchanged(depot):
            for name in ("", "other", depot, plan.database.upper(), f"{plan.database} "):
                with pytest.raises(ResetNotConfirmed, match=plan.database):
                    MigrationService(depot).reset(plan, confirm=name, backup=None)
            with pytest.raises(CommandError) as caught:
                reset(depot, confirm="other")
            assert caught.value.returncode == 1

    def test_there_is_nobody_to_ask(self, depot: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(name_of(depot)))
        with unchanged(depot), pytest.raises(CommandError, match="--confirm NAME") as caught:
            reset(depot, confirm=None)
        assert caught.value.returncode == 2

    @pytest.mark.parametrize("answer", ["right", "wrong"])
    def test_it_is_asked_for_on_a_terminal(
        self, depot: str, monkeypatch: pytest.MonkeyPatch, answer: str
    ) -> None:
        keyboard, terminal = pty.openpty()
        typed = name_of(depot) if answer == "right" else "hodei"
        os.write(keyboard, f"{typed}\n".encode())
        with os.fdopen(terminal) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            if answer == "right":
                assert f"Type the name of the database to drop all of this ({typed})" in reset(
                    depot, confirm=None
                )
            else:
                with unchanged(depot), pytest.raises(CommandError, match="is not the name"):
                    reset(depot, confirm=None)
        os.close(keyboard)

    def test_there_is_no_option_that_answers_without_the_name(self) -> None:
        from hodei.schema.management.commands.schema_reset import Command

        text = Command().create_parser("manage.py", "schema_reset").format_help()

        assert "no-input" not in text
        assert "noinput" not in text


class TestDryRun:
    def test_shows_the_plan_and_changes_nothing(self, depot: str, settings: Any) -> None:
        settings.HODEI_ALLOW_RESET = False
        with unchanged(depot):
            shown = reset(depot, dry_run=True, confirm=None)

        assert "depot_shelf      depot  2" in shown
        assert "view depot_labels\nsequence depot_ticket\n" in shown
        assert "2 tables with 3 rows and 5 other objects would be dropped, and 3" in shown
        assert "Nothing was changed: this was a dry run." in shown
        assert list(Path().iterdir()) == []
        assert len(outcomes(depot, "depot")) == 3

    def test_says_what_stands_in_the_way(self, depot: str) -> None:
        execute(depot, A_VIEW)
        with pytest.raises(CommandError, match="View a_view depends") as caught:
            reset(depot, dry_run=True)
        assert caught.value.returncode == 1


def test_the_help_tells_a_newcomer_what_it_needs() -> None:
    from hodei.schema.management.commands.schema_reset import Command

    text = " ".join(Command().create_parser("manage.py", "schema_reset").format_help().split())

    for words in (
        "drop the tables of some apps, with all their rows",
        "What belongs to other apps is never touched.",
        "HODEI_ALLOW_RESET = True",
        "every app whose AppConfig has schema_owned = True",
        "The name of the database, for scripts",
        "Write no backup: the rows are gone for good.",
        "End other sessions that hold locks",
        "Exit codes: 0 done, 1 refused, 2 misuse",
    ):
        assert words in text, words
