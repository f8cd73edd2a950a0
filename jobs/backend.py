"""The backend of ``django.tasks``: tasks are jobs.

TASKS = {
    "default": {
        "BACKEND": "jobs.backend.JobsBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"MAX_ATTEMPTS": 5, "TIMEOUT": 300},
    }
}

A task is enqueued on Django's connection to the database of the jobs, in the caller's transaction:
it runs when that commits, and never otherwise. ``manage.py jobs_worker`` runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.utils import timezone

from hodei.compat import (
    HAS_TASKS,
    TASKS_MISSING,
    BaseTaskBackend,
    Task,
    normalize_json,
)
from hodei.values import shown
from jobs.executors import SpecInvalid
from jobs.spec import LONGEST, JobInvalid, NewJob
from jobs.tasks import JobTask, as_timeout, check_fields

if not HAS_TASKS:
    raise ImproperlyConfigured(TASKS_MISSING)

from hodei.compat import InvalidTask, signals

if TYPE_CHECKING:
    from hodei.compat import TaskResult
    from jobs.services.queue import Counts

P = ParamSpec("P")
R = TypeVar("R")

#: A call of a task, to be enqueued with others: the task, its arguments and keyword arguments.
Call = tuple["Task[Any, Any]", Sequence[Any], Mapping[str, Any]]

MAX_ATTEMPTS = "MAX_ATTEMPTS"
TIMEOUT = "TIMEOUT"
OPTIONS = (MAX_ATTEMPTS, TIMEOUT)
DEFAULT_MAX_ATTEMPTS = 3


class JobsBackend(BaseTaskBackend):
    """Django makes one for each thread: it holds nothing but settings, and is made before the apps
    are."""

    task_class = JobTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def validate_task(self, task: Task[..., Any]) -> None:
        """Raise InvalidTask for a task that cannot be a job. Called for each task that is made."""
        super().validate_task(task)
        longest = LONGEST["queue"]
        if not 1 <= len(task.queue_name) <= longest:
            raise InvalidTask(
                f"queue_name is {shown(task.queue_name)}; it is a text of 1 to {longest} "
                "characters."
            )
        if isinstance(task, JobTask):
            check_fields(task)

    def enqueue(self, task: Task[P, R], args: Any, kwargs: Any) -> TaskResult[P, R]:
        """Store it as a job, in one round trip. Joins the caller's transaction.

        A call whose unique key is known stores nothing and returns the first one's result. Raises
        InvalidTask for a task that cannot run, TypeError for arguments that JSON cannot hold, and
        JobInvalid, a ValueError, for what PostgreSQL cannot store; nothing is stored then.
        """
        from jobs import task_results  # noqa: PLC0415  (it needs the apps to be ready)
        from jobs.services.queue import enqueue  # noqa: PLC0415
        from jobs.task_signals import send  # noqa: PLC0415

        self.validate_task(task)
        job = self._job(task, args, kwargs)
        try:
            stored = enqueue(using=_alias(), **job)
        except JobInvalid as error:
            raise _as_django_says(error) from error
        if not stored.is_new:
            return task_results.read(str(stored.id))
        result = task_results.of_new(
            task, stored.id, args, kwargs, self.alias, enqueued_at=stored.enqueued_at
        )
        # A receiver that raises must not make a job unknown that is there.
        send(signals.task_enqueued, type(self), result)
        return result

    def enqueue_many(self, calls: Iterable[Call]) -> Counts:
        """Store any number of calls, all or none, in their order: ``(task, args, kwargs)`` each.

        Joins the caller's transaction, or has one of its own; memory stays flat. Sends no signals.
        Raises what ``enqueue`` does.
        """
        from jobs.services.queue import enqueue_many  # noqa: PLC0415

        def jobs() -> Iterator[NewJob]:
            for task, args, kwargs in calls:
                self.validate_task(task)
                yield NewJob(**self._job(task, args, kwargs))

        try:
            return enqueue_many(jobs(), using=_alias())
        except JobInvalid as error:
            raise _as_django_says(error) from error

    def get_result(self, result_id: str) -> TaskResult[..., Any]:
        """The job as Django sees it, in one query.

        Raises TaskResultDoesNotExist where no job of this id runs a task, and InvalidTask where its
        task is not in this code.
        """
        from jobs import task_results  # noqa: PLC0415

        return task_results.read(result_id)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """What cannot work: jobs.E001 to E005. Looks at settings, and at no database."""
        return list(self._complaints())

    def _job(self, task: Task[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
        """The arguments of ``enqueue``."""
        python: dict[str, Any] = {"task": task.module_path, "backend": self.alias}
        try:
            if args:
                python["args"] = normalize_json(args)
            if kwargs:
                python["kwargs"] = normalize_json(kwargs)
        except RecursionError as error:
            raise TypeError("The arguments cannot be JSON: they are nested too deeply.") from error
        run_after = task.run_after
        if run_after is not None and timezone.is_naive(run_after):
            # With USE_TZ off Django takes them, in the zone of the project.
            run_after = timezone.make_aware(run_after, timezone.get_default_timezone())
        job = {
            "spec": {"python": python},
            "name": task.module_path[-LONGEST["name"] :],
            "queue": task.queue_name,
            "priority": int(task.priority),
            "run_after": run_after,
            "max_attempts": self.options.get(MAX_ATTEMPTS, DEFAULT_MAX_ATTEMPTS),
            "timeout": as_timeout(self.options.get(TIMEOUT)),
        }
        if isinstance(task, JobTask):
            if task.max_attempts is not None:
                job["max_attempts"] = task.max_attempts
            if task.timeout is not None:
                job["timeout"] = as_timeout(task.timeout)
            job["idempotency_key"] = task.key_of(args, kwargs)
        return job

    def _complaints(self) -> Iterator[checks.CheckMessage]:
        where = f"TASKS[{self.alias!r}]"
        if not apps.is_installed("jobs"):
            yield checks.Error(
                f"{where} is JobsBackend, and the app jobs is not installed.",
                hint="Add 'hodei.schema', 'outbox' and 'jobs' to INSTALLED_APPS, and run migrate.",
                id="jobs.E001",
            )
            return
        alias = _alias()
        vendor = connections[alias].vendor
        if vendor != "postgresql":
            yield checks.Error(
                f"{where} is JobsBackend, and the database of the jobs, {alias!r}, is {vendor}.",
                hint=(
                    "Jobs are on PostgreSQL alone: set the ENGINE of that database, to "
                    "'hodei.db.embedded' where there is no server, or let a database router say "
                    "where their tables are."
                ),
                id="jobs.E002",
            )
        options: object = self.options
        if not isinstance(options, Mapping):
            yield checks.Error(
                f"{where} has the OPTIONS {shown(options)}; they are a dict.", id="jobs.E003"
            )
            return
        # They may be anything, and then they are wrong.
        for name in sorted(set(self.options) - set(OPTIONS), key=str):
            yield checks.Error(
                f"{where} has the option {name!r}; known are {', '.join(OPTIONS)}.", id="jobs.E003"
            )
        try:
            check_fields(_Options(self.options))  # type: ignore[arg-type]
        except InvalidTask as error:
            yield checks.Error(f"{where}, OPTIONS: {error}", id="jobs.E003")
        names: list[Any] = sorted(self.queues, key=str)
        for queue in names:
            if not isinstance(queue, str) or not 1 <= len(queue) <= LONGEST["queue"]:
                yield checks.Error(
                    f"{where} has {queue!r} in QUEUES; a queue is a text of 1 to "
                    f"{LONGEST['queue']} characters.",
                    id="jobs.E004",
                )
        from jobs.registry import SETTING, executors  # noqa: PLC0415

        try:
            if "python" in executors():
                return
            words = f"{SETTING} does not list 'python', which runs tasks."
        except ImproperlyConfigured as error:
            words = str(error)
        yield checks.Error(f"{where} is JobsBackend, and {words}", id="jobs.E005")


class _Options:
    """The options of a backend, as a task has them."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.max_attempts = options.get(MAX_ATTEMPTS)
        self.timeout: float | timedelta | None = options.get(TIMEOUT)
        self.backoff = self.unique_key = self.retry_on = None
        self.isolation = "thread"


def _alias() -> str:
    from jobs.models import Job  # noqa: PLC0415  (tasks are made before the apps are ready)

    return router.db_for_write(Job)


def _as_django_says(error: JobInvalid) -> Exception:
    """A spec that cannot run is a task that is invalid; anything else is a wrong argument."""
    cause: BaseException | None = error
    while isinstance(cause, JobInvalid):
        cause = cause.__cause__
    return InvalidTask(str(error)) if isinstance(cause, SpecInvalid) else error
