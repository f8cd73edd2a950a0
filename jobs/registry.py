"""The executors of this project: JOBS_EXECUTORS, names and dotted paths of classes.

JOBS_EXECUTORS = {"python": "jobs.executors.python.PythonExecutor"}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from hodei.values import shown
from jobs.executors import Executor, LooksBeside, SpecInvalid

logger = logging.getLogger(__name__)

SETTING = "JOBS_EXECUTORS"
DEFAULT = {"python": "jobs.executors.python.PythonExecutor"}
#: Those of this package, whether they are on or not.
OURS = {**DEFAULT, "command": "jobs.executors.command.CommandExecutor"}


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
        if not isinstance(name, str) or not isinstance(path, str):
            raise ImproperlyConfigured(
                f"{SETTING} has {name!r}: {path!r}; it has names and dotted paths of classes."
            )
        try:
            found[name] = import_string(path)()
        except Exception as error:
            # It is others' code that is imported and made.
            raise ImproperlyConfigured(
                f"{SETTING}[{name!r}]: {path!r} cannot be used ({error})."
            ) from error
    return found


def open_all(slots: int, opened: list[Executor]) -> None:
    """A worker begins; ``opened`` gets those that are to be closed. Raises what they raise."""
    for executor in executors().values():
        executor.open(slots)
        opened.append(executor)


def close_all(opened: Sequence[Executor]) -> None:
    """A worker ends, whatever they raise."""
    for executor in opened:
        try:
            executor.close()
        except Exception:
            logger.exception("an executor could not be closed executor=%s", type(executor).__name__)


def executor_of(spec: Mapping[str, Any]) -> tuple[str, Executor]:
    """The executor that the spec's one key names. Raises SpecInvalid."""
    known = executors()
    names = [name for name in spec if name in known]
    if len(names) != 1:
        what = ", ".join(map(shown, islice(spec, 5))) or "nothing"
        off = [f"{name!r}: {path!r}" for name, path in OURS.items() if name in spec]
        add = f" To run it, add {', '.join(off)} there." if off and not names else ""
        raise SpecInvalid(
            f"spec has {what}; it has one of {', '.join(map(repr, known))}, which is what "
            f"{SETTING} lists.{add}"
        )
    return names[0], known[names[0]]


def check_spec(spec: Mapping[str, Any]) -> None:
    """Let its executor look at it: at what stands under the key, and what stands beside it. Raises
    SpecInvalid."""
    name, executor = executor_of(spec)
    executor.validate(spec[name])
    looks = _looking_beside().get(name)
    if looks is not None:
        looks.validate_beside({key: value for key, value in spec.items() if key != name})


@lru_cache(maxsize=1)
def _looking_beside() -> Mapping[str, LooksBeside]:
    """Asked once: to compare with a protocol takes as long as the rest of a check."""
    return {name: one for name, one in executors().items() if isinstance(one, LooksBeside)}


def _forget(*, setting: str, **_rest: Any) -> None:
    if setting == SETTING:
        executors.cache_clear()
        _looking_beside.cache_clear()


setting_changed.connect(_forget, dispatch_uid="jobs.registry")
