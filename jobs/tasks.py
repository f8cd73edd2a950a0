"""Tasks of ``django.tasks`` with what jobs have besides: retries, a time limit, a unique key.

    from jobs.tasks import task

    @task(max_attempts=5, backoff=(2, 600), timeout=30, unique_key="invoice {0}")
    def send_invoice(number: int) -> None: ...

    send_invoice.enqueue(7)

``django.tasks.task`` works, too, with the same options from Django 6.1 on and with none before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from hodei.compat import HAS_TASKS, TASKS_MISSING, Task
from hodei.values import shown
from jobs.callables import PROCESS, THREAD
from jobs.context import JobContext
from jobs.exceptions import DoNotRetry, LeaseLost, Retry, Snooze
from jobs.spec import LONGEST_TIMEOUT, MOST_ATTEMPTS

if not HAS_TASKS:
    raise ImproperlyConfigured(TASKS_MISSING)

from hodei.compat import DEFAULT_TASK_BACKEND_ALIAS, InvalidTask

if TYPE_CHECKING:
    #: What mypy knows of them: what ``enqueue`` takes is checked by the function itself.
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task

__all__ = [
    "DoNotRetry",
    "JobContext",
    "JobTask",
    "LeaseLost",
    "Retry",
    "Snooze",
    "task",
]

#: Seconds between two runs at most.
LONGEST_PAUSE = 30 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTask(AnyTask):
    """A task, and how its jobs are run. Frozen; ``using`` makes another one.

    It can be enqueued to any backend; those that are not ours take no notice of these fields.
    """

    #: Runs, the first one among them; None is the backend's MAX_ATTEMPTS.
    max_attempts: int | None = None
    #: Seconds: the pause after the first failure at most, and the longest of all. It doubles with
    #: each failure, and is anywhere below that, so that not all come back together. None is 5 s to
    #: an hour.
    backoff: tuple[float, float] | None = None
    #: Seconds, or a timedelta, of one run; None is the backend's TIMEOUT.
    timeout: float | timedelta | None = None
    #: The key of a job by its arguments: a format string, or a function of the same arguments. A
    #: second job of this task with the same key is the first one. None is no key.
    unique_key: str | Callable[..., Any] | None = None
    #: Exceptions after which it is run again; None is all of them.
    retry_on: tuple[type[BaseException], ...] | None = None
    #: ``process`` runs it in a process of its own, which can be killed; ``thread`` does not.
    isolation: str = THREAD

    def __post_init__(self) -> None:
        AnyTask.__post_init__(self)
        check_fields(self)

    def key_of(self, args: Any, kwargs: Any) -> str | None:
        """The key of a job with these arguments. Raises InvalidTask."""
        if self.unique_key is None:
            return None
        try:
            if callable(self.unique_key):
                key = self.unique_key(*args, **kwargs)
            else:
                key = self.unique_key.format(*args, **kwargs)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise InvalidTask(
                f"unique_key of {self.module_path} does not fit its arguments "
                f"({type(error).__name__}: {error})."
            ) from error
        if not isinstance(key, str) or not key:
            raise InvalidTask(
                f"unique_key of {self.module_path} gave {shown(key)}; it gives a text."
            )
        # Keys are unique among all jobs: those of two tasks must not meet.
        return f"{self.module_path} {key}"


def task(
    function: Callable[..., Any] | None = None,
    *,
    priority: int = 0,
    queue_name: str = "default",
    backend: str = DEFAULT_TASK_BACKEND_ALIAS,
    takes_context: bool = False,
    max_attempts: int | None = None,
    backoff: tuple[float, float] | None = None,
    timeout: float | timedelta | None = None,
    unique_key: str | Callable[..., Any] | None = None,
    retry_on: tuple[type[BaseException], ...] | None = None,
    isolation: str = THREAD,
) -> Any:
    """Make a function a task, as ``django.tasks.task`` does, with the options of ``JobTask``.

    With or without parentheses, on every Django. Raises InvalidTask for what can be none.
    """

    def decorate(function: Callable[..., Any]) -> JobTask:
        return JobTask(
            func=function,
            priority=priority,
            queue_name=queue_name,
            backend=backend,
            takes_context=takes_context,
            run_after=None,
            max_attempts=max_attempts,
            backoff=backoff,
            timeout=timeout,
            unique_key=unique_key,
            retry_on=retry_on,
            isolation=isolation,
        )

    return decorate if function is None else decorate(function)


def check_fields(given: JobTask) -> None:
    """Raise InvalidTask for an option that cannot be."""
    attempts: object = given.max_attempts
    if attempts is not None and (
        isinstance(attempts, bool)
        or not isinstance(attempts, int)
        or not 1 <= attempts <= MOST_ATTEMPTS
    ):
        raise _wrong("max_attempts", attempts, f"a whole number from 1 to {MOST_ATTEMPTS}")
    if given.backoff is not None and not _is_backoff(given.backoff):
        raise _wrong("backoff", given.backoff, "two numbers of seconds, more than 0: base and cap")
    as_timeout(given.timeout)
    key: object = given.unique_key
    if key is not None and not isinstance(key, str) and not callable(key):
        raise _wrong("unique_key", given.unique_key, "a format string or a function")
    if given.retry_on is not None and not _are_exceptions(given.retry_on):
        raise _wrong("retry_on", given.retry_on, "a tuple of exception classes")
    isolation: object = given.isolation
    if not isinstance(isolation, str) or isolation not in {THREAD, PROCESS}:
        raise _wrong("isolation", given.isolation, f"{THREAD!r} or {PROCESS!r}")


def as_timeout(given: object) -> timedelta | None:
    """A time limit as jobs have it. Raises InvalidTask."""
    words = f"seconds or a timedelta, more than 0 and at most {LONGEST_TIMEOUT.days} days"
    if given is None:
        return None
    if not isinstance(given, int | float | timedelta) or isinstance(given, bool):
        raise _wrong("timeout", given, words)
    try:
        found = given if isinstance(given, timedelta) else timedelta(seconds=given)
    except (OverflowError, ValueError) as error:
        raise _wrong("timeout", given, words) from error
    if not timedelta() < found <= LONGEST_TIMEOUT:
        raise _wrong("timeout", given, words)
    return found


def _is_backoff(given: object) -> bool:
    return (
        isinstance(given, tuple)
        and len(given) == 2
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in given)
        and 0 < given[0] <= given[1] <= LONGEST_PAUSE
    )


def _are_exceptions(given: object) -> bool:
    return isinstance(given, tuple) and all(
        inspect.isclass(one) and issubclass(one, BaseException) for one in given
    )


def _wrong(field: str, value: object, words: str) -> Exception:
    return InvalidTask(f"{field} is {shown(value)}; it is {words}.")
