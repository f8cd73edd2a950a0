"""What is not adopted, and why; and what is asked before it is."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from hodei.schema.adoption.survey import survey
from tests.schema.test_adopt.kit import REASONS, Install, adopt, execute, recorded, traces


class TestRefusing:
    @pytest.mark.parametrize(("reason", "change"), REASONS.items())
    def test_leaves_it_untouched_and_says_why(
        self, homestead: str, reason: str, change: str
    ) -> None:
        execute(homestead, change)
        before = traces(homestead)

        code, said = adopt(homestead)

        assert code == 1
        assert "This database cannot be adopted as it is, and nothing was changed:" in said
        assert reason in said
        assert traces(homestead) == before

    def test_the_rows_can_be_looked_at_as_it_says(self, homestead: str) -> None:
        execute(
            homestead,
            "ALTER TABLE plots DROP CONSTRAINT plots_name_key; "
            "UPDATE plots SET name = 'one' WHERE id < 4",
        )
        plan = survey(homestead).plan
        assert plan is not None
        (obstacle,) = plan.obstacles

        rows = execute(homestead, f"SELECT{obstacle.partition(': SELECT')[2]}")

        assert [row[1] for row in rows] == ["one"] * 3

    def test_an_empty_database_is_nothing_to_adopt(self, scratch: str, install: Install) -> None:
        install("homestead")

        code, said = adopt(scratch)

        assert code == 1
        assert "Nothing to adopt: none of the 2 tables of homestead is in schema 'public'" in said
        assert "run migrate" in said

    def test_tables_in_another_schema_are_pointed_out(self, scratch: str, install: Install) -> None:
        install("homestead")
        execute(scratch, 'CREATE SCHEMA "The Attic"; CREATE TABLE "The Attic".plots (id int)')

        assert "Tables of these names are in schema 'The Attic'" in adopt(scratch)[1]

    @pytest.mark.parametrize(
        ("apps", "name", "words"),
        [
            (("ledger",), "0002_fence", "No installed app names a baseline"),
            (("homestead",), "0009_missing", "'0009_missing', and app homestead has no such"),
        ],
    )
    def test_a_baseline_that_is_none_is_misuse(
        self,
        scratch: str,
        install: Install,
        monkeypatch: pytest.MonkeyPatch,
        apps: tuple[str, ...],
        name: str,
        words: str,
    ) -> None:
        monkeypatch.setattr(
            "tests.schema.apps.homestead.apps.HomesteadConfig.schema_baseline", name
        )
        install(*apps)

        code, said = adopt(scratch)

        assert code == 2
        assert words in said

    def test_an_adoption_that_is_none_is_misuse(
        self, homestead: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.schema.apps.homestead.adoption.ADOPTION", {"rows": []})

        code, said = adopt(homestead)

        assert code == 2
        assert "tests.schema.apps.homestead.adoption.ADOPTION is {'rows': []}" in said

    def test_an_unknown_database_is_misuse(self) -> None:
        assert adopt("nowhere")[0] == 2


class TestAsking:
    @pytest.fixture
    def answer(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        def say(text: str) -> None:
            terminal = io.StringIO(f"{text}\n")
            terminal.isatty = lambda: True  # type: ignore[method-assign]
            monkeypatch.setattr(sys, "stdin", terminal)

        return say

    def test_without_a_terminal_needs_an_answer_beforehand(
        self, homestead: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        before = traces(homestead)

        code, said = adopt(homestead, interactive=True)

        assert code == 2
        assert "Give --no-input to do what is shown" in said
        assert traces(homestead) == before

    @pytest.mark.parametrize("text", ["no", "", "y"])
    def test_only_yes_is_yes(
        self, homestead: str, answer: Callable[[str], None], text: str
    ) -> None:
        answer(text)
        before = traces(homestead)

        code, said = adopt(homestead, interactive=True)

        assert code == 1
        assert said.endswith("Nothing was changed.")
        assert traces(homestead) == before

    def test_yes_is_done(self, homestead: str, answer: Callable[[str], None]) -> None:
        answer("yes")

        assert adopt(homestead, interactive=True)[0] == 0
        assert "homestead.0002_fence" in recorded(homestead)
