"""What newer Pythons and Djangos have and the oldest that are supported lack.

``django.tasks`` came with Django 6.0; the backport ``django_tasks`` has it for 5.2, under names of
which some differ. Where there is neither, ``HAS_TASKS`` is False and the names are placeholders.
Nothing else imports either of them.
"""

from __future__ import annotations

import os
import time
import uuid
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import django

#: What to say where a feature needs django.tasks and it is not there.
TASKS_MISSING = (
    "There is no django.tasks: Django 5.2 has it by the package django-tasks, which "
    "pip install 'hodei[tasks]' brings."
)

HAS_TASKS = True
if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import (
        DEFAULT_TASK_BACKEND_ALIAS,
        TaskContext,
        TaskResult,
        TaskResultStatus,
        signals,
        task_backends,
    )
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskError
    from django.tasks.exceptions import (
        InvalidTask,
        InvalidTaskBackend,
        TaskResultDoesNotExist,
        TaskResultMismatch,
    )
    from django.utils.json import normalize_json

    TASKS_LOGGER = "django.tasks"
elif find_spec("django_tasks") is not None:
    from django_tasks import (
        DEFAULT_TASK_BACKEND_ALIAS,
        TaskContext,
        TaskResult,
        TaskResultStatus,
        checks,  # noqa: F401  (registers the check of the backends)
        exceptions,
        signals,
        task_backends,
    )
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskError
    from django_tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch
    from django_tasks.utils import normalize_json

    # Newer versions of the backport have Django's names.
    InvalidTask = getattr(exceptions, "InvalidTask", None) or exceptions.InvalidTaskError
    InvalidTaskBackend = (
        getattr(exceptions, "InvalidTaskBackend", None) or exceptions.InvalidTaskBackendError
    )
    TASKS_LOGGER = "django_tasks"
else:
    HAS_TASKS = False
    TASKS_LOGGER = "django.tasks"
    Task = TaskContext = BaseTaskBackend = type("Missing", (), {})

    def normalize_json(obj: Any) -> Any:
        return obj


__all__ = [
    "DEFAULT_TASK_BACKEND_ALIAS",
    "HAS_TASKS",
    "TASKS_LOGGER",
    "TASKS_MISSING",
    "BaseTaskBackend",
    "InvalidTask",
    "InvalidTaskBackend",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultMismatch",
    "TaskResultStatus",
    "normalize_json",
    "signals",
    "task_backends",
    "uuid7",
]


def uuid7() -> uuid.UUID:
    """A UUID that begins with the time, in milliseconds (RFC 9562, section 5.7).

    Keys made one after the other lie side by side in an index, which makes inserting them cheaper.
    """
    random = int.from_bytes(os.urandom(10), "big")
    value = (time.time_ns() // 1_000_000 & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (random >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=value)
