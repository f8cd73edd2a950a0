"""Checks of the setting TASKS."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks
from django.db import connections
from django.test import override_settings

from jobs.backend import JobsBackend


class CannotBe:
    def __init__(self) -> None:
        raise KeyError("a setting of its own")


class TestChecks:
    def found(self, params: dict[str, Any], alias: str = "default") -> list[tuple[str, str]]:
        return [(one.id or "", one.msg) for one in JobsBackend(alias, params).check()]

    def test_settings_of_this_project_are_fine(self) -> None:
        assert self.found({}) == []
        assert self.found({"QUEUES": [], "OPTIONS": {"MAX_ATTEMPTS": 5, "TIMEOUT": 2.5}}) == []

    def test_they_are_part_of_django_s(self) -> None:
        with override_settings(
            TASKS={"default": {"BACKEND": "jobs.backend.JobsBackend", "OPTIONS": {"RETRIES": 1}}}
        ):
            found = [one for one in checks.run_checks() if one.id == "jobs.E003"]

        assert [one.msg for one in found] == [
            "TASKS['default'] has the option 'RETRIES'; known are MAX_ATTEMPTS, TIMEOUT."
        ]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"MAX_ATTEMPTS": 0}, "OPTIONS: max_attempts is 0; it is a whole number"),
            ({"TIMEOUT": -1}, "OPTIONS: timeout is -1; it is seconds or a timedelta"),
            (["TIMEOUT"], "has the OPTIONS ['TIMEOUT']; they are a dict"),
        ],
    )
    def test_options(self, options: Any, words: str) -> None:
        ((number, message),) = self.found({"OPTIONS": options})

        assert number == "jobs.E003"
        assert words in message

    def test_options_of_several_types(self) -> None:
        assert [number for number, _ in self.found({"OPTIONS": {1: 2, "x": 3, None: 4}})] == [
            "jobs.E003"
        ] * 3

    def test_queues(self) -> None:
        ((number, message),) = self.found({"QUEUES": ["fine", "q" * 65]})

        assert number == "jobs.E004"
        assert "a queue is a text of 1 to 64 characters" in message

    def test_the_app(self, settings: Any) -> None:
        settings.INSTALLED_APPS = [
            one for one in settings.INSTALLED_APPS if one not in {"jobs", "sagas"}
        ]

        assert [number for number, _ in self.found({})] == ["jobs.E001"]

    def test_the_database(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(connections["default"], "vendor", "sqlite")

        ((number, message),) = self.found({})
        assert number == "jobs.E002"
        assert "the database of the jobs, 'default', is sqlite" in message

    @pytest.mark.parametrize(
        "executors",
        [
            *({}, {"python": "no.such.Class"}, {"python": None}, {"python": JobsBackend}),
            *({5: "no.such.Class"}, {"python": "tests.jobs.test_backend.test_checks.CannotBe"}),
        ],
        ids=str,
    )
    def test_the_executor(self, settings: Any, executors: Any) -> None:
        settings.JOBS_EXECUTORS = executors

        assert [number for number, _ in self.found({})] == ["jobs.E005"]
