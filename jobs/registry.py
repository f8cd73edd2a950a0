"""The executors of this project: JOBS_EXECUTORS, names and dotted paths of classes.

JOBS_EXECUTORS = {"python": "jobs.executors.python.PythonExecutor"}
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from jobs.executors import Executor, LooksBeside, SpecInvalid

SETTING = "JOBS_EXECUTORS"
DEFAULT = {"python": "jobs.executors.python.PythonExecutor"}


@lru_cache(maxsize=1)
def executors() -> Mapping[str, Executor]:
    """One of each; ``open`` is the worker's to call. Raises ImproperlyConfigured."""
    given = getattr(settings, SETTING, DEFAULT)
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(
            f"{SETTING} is {given!r}; it is a dict of names and dotted paths of classes."
        )
    found: dict[str, Executor] = {}
    for name, path in given.items():
        try:
            found[name] = import_string(path)()
        except (ImportError, TypeError) as error:
            raise ImproperlyConfigured(
                f"{SETTING}[{name!r}]: {path!r} cannot be used ({error})."
            ) from error
    return found


def executor_of(spec: Mapping[str, Any]) -> tuple[str, Executor]:
    """The executor that the spec's one key names. Raises SpecInvalid."""
    known = executors()
    names = [name for name in spec if name in known]
    if len(names) != 1:
        what = ", ".join(map(repr, spec)) or "nothing"
        raise SpecInvalid(
            f"spec has {what}; it has one of {', '.join(map(repr, known))}, which is what "
            f"{SETTING} lists."
        )
    return names[0], known[names[0]]


def check_spec(spec: Mapping[str, Any]) -> None:
    """Let its executor look at it: at what stands under the key, and what stands beside it. Raises
    SpecInvalid."""
    name, executor = executor_of(spec)
    executor.validate(spec[name])
    if isinstance(executor, LooksBeside):
        executor.validate_beside({key: value for key, value in spec.items() if key != name})


def _forget(*, setting: str, **_rest: Any) -> None:
    if setting == SETTING:
        executors.cache_clear()


setting_changed.connect(_forget, dispatch_uid="jobs.registry")
