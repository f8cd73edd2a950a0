"""The backend, and tasks as it makes them."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from hodei.compat import (
    BaseTaskBackend,
    InvalidTask,
    Task,
    task_backends,
)
from jobs.backend import JobsBackend
from jobs.tasks import JobTask, task
from tests.jobs import example_tasks as examples
from tests.jobs.test_backend.kit import HERE


class TestBackend:
    def test_what_it_supports(self) -> None:
        backend = task_backends["default"]

        assert isinstance(backend, JobsBackend)
        assert isinstance(backend, BaseTaskBackend)
        assert (backend.alias, backend.queues, backend.options) == ("default", {"default"}, {})
        assert backend.task_class is JobTask
        assert backend.supports_defer is True
        assert backend.supports_async_task is True
        assert backend.supports_get_result is True
        assert backend.supports_priority is True

    def test_is_made_with_what_the_settings_say(self) -> None:
        backend = JobsBackend("jobs", {"QUEUES": ["a", "b"], "OPTIONS": {"MAX_ATTEMPTS": 7}})

        assert (backend.alias, backend.queues) == ("jobs", {"a", "b"})
        assert backend.options == {"MAX_ATTEMPTS": 7}


class TestTasks:
    def test_are_django_s_with_ours_besides(self) -> None:
        assert isinstance(examples.add, JobTask)
        assert isinstance(examples.add, Task)
        assert examples.add.name == "add"
        assert examples.add.module_path == f"{HERE}.add"
        assert examples.add.get_backend() is task_backends["default"]
        assert (examples.tell.priority, examples.tell.takes_context) == (50, True)

    def test_can_be_called(self) -> None:
        assert examples.add.call(1, right=2) == 3
        assert examples.add_later.call(1, right=2) == 3
        assert async_to_sync(examples.add.acall)(1, right=2) == 3
        assert async_to_sync(examples.add_later.acall)(1, right=2) == 3

    def test_using_changes_a_copy_and_keeps_what_is_ours(self) -> None:
        later = datetime(2040, 1, 1, tzinfo=UTC)
        changed = examples.fail_always.using(priority=7, queue_name="default", run_after=later)

        assert (changed.priority, changed.run_after) == (7, later)
        assert (changed.max_attempts, changed.backoff) == (3, (0.001, 0.002))
        assert examples.fail_always.priority == 0

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="tasks can be pickled from 6.1 on")
    def test_can_be_pickled(self) -> None:
        assert pickle.loads(pickle.dumps(examples.fail_always)) == examples.fail_always

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"priority": 101}, "priority must be a whole number"),
            ({"priority": 1.5}, "priority must be a whole number"),
            ({"queue_name": "unknown"}, "Queue 'unknown' is not valid for backend"),
            ({"takes_context": True}, "does not have a first argument of 'context'"),
            ({"max_attempts": 0}, "max_attempts is 0; it is a whole number from 1 to 1000"),
            ({"max_attempts": True}, "max_attempts is True"),
            ({"backoff": 5}, "backoff is 5; it is two numbers of seconds"),
            ({"backoff": (10, 5)}, "backoff is (10, 5)"),
            ({"backoff": (0, 5)}, "backoff is (0, 5)"),
            ({"timeout": 0}, "timeout is 0; it is seconds or a timedelta"),
            ({"timeout": "1s"}, "timeout is '1s'"),
            ({"timeout": timedelta(days=31)}, "at most 30 days"),
            ({"timeout": float("nan")}, "timeout is nan"),
            ({"timeout": float("inf")}, "timeout is inf"),
            ({"unique_key": 7}, "unique_key is 7; it is a format string or a function"),
            ({"retry_on": ValueError}, "it is a tuple of exception classes"),
            ({"retry_on": ("ValueError",)}, "it is a tuple of exception classes"),
            ({"isolation": "vm"}, "isolation is 'vm'; it is 'thread' or 'process'"),
        ],
    )
    def test_an_option_that_cannot_be_is_refused(self, options: Any, words: str) -> None:
        with pytest.raises(InvalidTask) as caught:
            task(**options)(examples.plain)

        assert words in str(caught.value)

    def test_a_function_within_a_function_is_refused(self) -> None:
        def inner() -> None: ...

        with pytest.raises(InvalidTask, match="module level"):
            task(inner)

    def test_run_after_is_aware(self) -> None:
        with pytest.raises(InvalidTask, match="aware"):
            examples.add.using(run_after=datetime(2040, 1, 1))  # noqa: DTZ001

    def test_queues_may_be_any_where_none_is_listed(self) -> None:
        with override_settings(
            TASKS={"default": {"BACKEND": f"{JobsBackend.__module__}.JobsBackend", "QUEUES": []}}
        ):
            assert examples.add.using(queue_name="mail").queue_name == "mail"
            with pytest.raises(InvalidTask, match="1 to 64 characters"):
                examples.add.using(queue_name="q" * 65)

    def test_run_under_other_backends_too(self) -> None:
        kind = BaseTaskBackend.__module__.replace(".base", ".immediate")
        with override_settings(TASKS={"default": {"BACKEND": f"{kind}.ImmediateBackend"}}):
            assert examples.add.enqueue(1, right=2).return_value == 3
