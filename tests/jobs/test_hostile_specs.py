"""What is to be run, given as nobody should give it: see ``tests.hostile``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hodei.values import shown
from jobs.services.queue import enqueue
from jobs.spec import JobInvalid
from tests.hostile import complaints
from tests.jobs.conftest import Jobs

pytestmark = pytest.mark.django_db

ECHO = {"type": "shell", "cmd": "echo"}
SCRIPT = {"type": "script", "interpreter": "sh", "content": "true"}
BESIDE = {
    "env": "json",
    "working_dir": "text",
    "stdin": "text",
    "timeout_ms": "number",
    "inputs": "json",
    "outputs": "json",
    "resources": "json",
    "preferences": "json",
}


def beside(key: str) -> Callable[[Any], Any]:
    return lambda value: {"command": ECHO, key: value}


class TestSpecs:
    """What the executors of this project take."""

    @pytest.fixture(autouse=True)
    def _executors(self, settings: Any) -> None:
        settings.JOBS_EXECUTORS = {
            "python": "jobs.executors.python.PythonExecutor",
            "command": "jobs.executors.command.CommandExecutor",
        }

    @pytest.mark.parametrize(
        ("kind", "make"),
        [
            ("json", lambda value: value),
            ("json", lambda value: {"command": value}),
            ("text", lambda value: {"command": {"type": value}}),
            ("text", lambda value: {"command": {**ECHO, "cmd": value}}),
            ("json", lambda value: {"command": {**ECHO, "args": value}}),
            ("text", lambda value: {"command": {**ECHO, "args": [value]}}),
            ("text", lambda value: {"command": {**SCRIPT, "content": value}}),
            ("text", lambda value: {"command": {**SCRIPT, "interpreter": value}}),
            ("json", lambda value: {"python": value}),
            ("text", lambda value: {"python": {"task": value}}),
            *((kind, beside(key)) for key, kind in BESIDE.items()),
            ("text", lambda value: {"command": ECHO, "env": {"A": value}}),
            ("text", lambda value: {"command": ECHO, "env": {shown(value): "x"}}),
            ("number", lambda value: {"command": ECHO, "resources": {"cpu": value}}),
        ],
    )
    def test_a_spec_is_taken_or_refused_in_words(self, kind: str, make: Any) -> None:
        left_out = ("an object that cannot be shown",)

        found = complaints(
            lambda value: enqueue(spec=make(value)), kind, JobInvalid, leave_out=left_out
        )

        assert found == []


class TestTasks:
    """The decorator, and the backend of ``django.tasks``."""

    @pytest.fixture(autouse=True)
    def _tasks(self, tasks: Jobs) -> None: ...

    @pytest.mark.parametrize(
        ("field", "kind"),
        [
            *(("max_attempts", "number"), ("timeout", "span"), ("timeout", "number")),
            *(("unique_key", "text"), ("backoff", "number"), ("isolation", "text")),
            *(("retry_on", "text"), ("queue_name", "text"), ("priority", "number")),
        ],
    )
    def test_an_option_is_taken_or_refused_in_words(self, field: str, kind: str) -> None:
        from hodei.compat import InvalidTask
        from jobs.tasks import task
        from tests.jobs import example_tasks

        function = example_tasks.add.func
        found = complaints(lambda value: task(**{field: value})(function), kind, InvalidTask)

        # Of these two Django looks at the value itself, and shows it as it likes.
        assert found == [] or field in {"queue_name", "priority"}

    @pytest.mark.parametrize("kind", ["json", "text", "number"])
    def test_arguments_are_taken_or_refused_in_words(self, kind: str) -> None:
        from hodei.compat import InvalidTask
        from tests.jobs import example_tasks

        documented = (TypeError, InvalidTask, JobInvalid)

        assert (
            complaints(lambda value: example_tasks.add.enqueue(value, 1), kind, *documented) == []
        )
        assert (
            complaints(lambda value: example_tasks.add.enqueue(1, right=value), kind, *documented)
            == []
        )

    def test_ids_of_results(self) -> None:
        from hodei.compat import TaskResultDoesNotExist, task_backends

        ask = task_backends["default"].get_result

        assert complaints(ask, "id", TaskResultDoesNotExist) == []
