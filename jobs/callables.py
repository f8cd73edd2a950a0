"""Which functions a job may run: by dotted path, imported once.

Without JOBS_TASKS_ALLOWED every path may be run at which there is a task, which is a function that
somebody has decorated to be run so. With it, a list of patterns such as "shop.tasks.*", a path that
matches none of them is not even imported, and what matches may be a plain function as well.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from hodei.backoff import Backoff
from hodei.compat import Task
from hodei.values import shown
from jobs.executors import SpecInvalid

SETTING = "JOBS_TASKS_ALLOWED"
THREAD, PROCESS = "thread", "process"


class TaskNotFound(Exception):  # noqa: N818  (it reads as the fact it states)
    """Nothing can be imported at the path. Another version of the code may have it."""


@dataclass(frozen=True, slots=True)
class Callee:
    """A function, and how it is to be run."""

    path: str
    function: Callable[..., Any]
    #: None for a plain function.
    task: Task[..., Any] | None
    is_async: bool
    takes_context: bool = False
    isolation: str = THREAD
    backoff: Backoff | None = None
    #: Exceptions after which it is run again; None is all of them.
    retry_on: tuple[type[BaseException], ...] | None = None


@cache
def callee(path: str) -> Callee:
    """Import what is at the path.

    Raises SpecInvalid for what may not be run, and TaskNotFound for what cannot be imported, which
    is tried again the next time.
    """
    patterns = allowed()
    if patterns is not None and not any(fnmatchcase(path, pattern) for pattern in patterns):
        raise SpecInvalid(f"task is {shown(path)}, and {SETTING} has no pattern that allows it.")
    found = _import(path)
    if isinstance(found, Task):
        return Callee(
            path,
            found.func,
            found,
            inspect.iscoroutinefunction(found.func),
            found.takes_context,
            getattr(found, "isolation", THREAD),
            _backoff(getattr(found, "backoff", None)),
            getattr(found, "retry_on", None),
        )
    if patterns is None:
        raise SpecInvalid(
            f"task is {shown(path)}, which is no task: decorate the function with jobs.tasks.task, "
            f"or list it in {SETTING}."
        )
    if not callable(found):
        raise SpecInvalid(
            f"task is {shown(path)}, which is {type(found).__name__} and no function."
        )
    return Callee(path, found, None, inspect.iscoroutinefunction(found))


def allowed() -> Sequence[str] | None:
    """The patterns of the setting; None where it is not set. Raises ImproperlyConfigured."""
    patterns = getattr(settings, SETTING, None)
    if patterns is None:
        return None
    if not isinstance(patterns, list | tuple) or not all(isinstance(one, str) for one in patterns):
        raise ImproperlyConfigured(
            f'{SETTING} is {patterns!r}; it is a list of patterns such as "shop.tasks.*".'
        )
    return patterns


def _import(path: str) -> Any:
    module_name, _, name = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise SpecInvalid(f"task is {shown(path)}; it is a dotted path such as 'shop.tasks.send'.")
    try:
        # A class in between (module.Class.method) is no place for a function that runs by itself.
        return getattr(importlib.import_module(module_name), name)
    except Exception as error:
        # Whatever a module does while it is imported: its job is to fail, and not the worker.
        raise TaskNotFound(
            f"task is {shown(path)}, which cannot be imported ({type(error).__name__}: {error})."
        ) from error


def _backoff(given: tuple[float, float] | None) -> Backoff | None:
    return None if given is None else Backoff(base=given[0], cap=given[1])


def _forget(*, setting: str, **_rest: Any) -> None:
    if setting in {SETTING, "TASKS"}:
        callee.cache_clear()


setting_changed.connect(_forget, dispatch_uid="jobs.callables")
