"""Results of tasks in the words of ``django.tasks``: of rows, of runs, and of what is new.

Django knows four statuses, and jobs have ten states: whoever wants to know more asks the job.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, router
from django.utils import timezone

from hodei.compat import (
    InvalidTask,
    Task,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
)
from hodei.sql import statement
from hodei.values import identifier, shown
from jobs import exceptions
from jobs.callables import TaskNotFound, callee
from jobs.executors import SpecInvalid
from jobs.runs import Ended, Run, class_path
from jobs.states import JOB_FINAL, FailureKind, JobState

STATUSES: Mapping[JobState, TaskResultStatus] = {
    JobState.CREATED: TaskResultStatus.READY,
    JobState.PENDING: TaskResultStatus.READY,
    JobState.ASSIGNED: TaskResultStatus.READY,
    JobState.SCHEDULED: TaskResultStatus.READY,
    JobState.MANUAL_INTERVENTION_REQUIRED: TaskResultStatus.READY,
    JobState.RUNNING: TaskResultStatus.RUNNING,
    JobState.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    JobState.FAILED: TaskResultStatus.FAILED,
    JobState.CANCELLED: TaskResultStatus.FAILED,
    JobState.TIMEOUT: TaskResultStatus.FAILED,
}

if TYPE_CHECKING:
    Result = TaskResult[Any, Any]
    AnyTask = Task[Any, Any]


class _Row(NamedTuple):
    """One row of the statement ``result``."""

    #: JSON text, as ``result`` and ``failed`` are.
    spec: str
    state: str
    queue: str
    priority: int
    run_after: datetime | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    result: str | None
    message: str | None
    worker_id: uuid.UUID | None
    failed: str


def of_new(
    task: AnyTask,
    job_id: uuid.UUID | None,
    args: Any,
    kwargs: Any,
    backend: str,
    *,
    enqueued_at: datetime,
) -> Result:
    """Of a job that was enqueued then. Raises TypeError for arguments that JSON cannot hold."""
    return TaskResult(
        task=task,
        id=str(job_id),
        status=TaskResultStatus.READY,
        enqueued_at=enqueued_at,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend=backend,
        errors=[],
        worker_ids=[],
    )


def read(job_id: str) -> Result:
    """Of a stored job, in one query. Joins the caller's transaction.

    Raises TaskResultDoesNotExist where there is no such job, or none that runs a task, and
    InvalidTask where its task is not in this code.
    """
    from jobs.models import Job  # noqa: PLC0415  (tasks are imported before models are)

    found = identifier(job_id)
    if found is None:
        raise TaskResultDoesNotExist(shown(job_id))
    # What was enqueued a moment ago need not have reached a replica.
    with connections[router.db_for_write(Job)].cursor() as cursor:
        cursor.execute(statement("jobs", "result"), {"id": found})
        row = cursor.fetchone()
    if row is None:
        raise TaskResultDoesNotExist(job_id)
    return _of_row(found, row)


def of_run(run: Run) -> Result:
    """Of a run that goes on."""
    if run.job.attempts > 1 or run.job.lost_leases:
        # Of the runs before only the database knows.
        return read(str(run.id))
    return _of_first(run, TaskResultStatus.RUNNING)


def of_ended(run: Run, ended: Ended) -> Result:
    """Of a job that has ended, by the run that was its last."""
    if run.job.attempts > 1 or run.job.lost_leases:
        return read(str(run.id))
    found = _of_first(run, STATUSES[ended.state])
    _set(found, finished_at=timezone.now())
    if ended.result is not None and ended.state is JobState.SUCCEEDED:
        _set(found, _return_value=json.loads(ended.result))
    if ended.kind is not None:
        trace = ended.traceback or ended.error
        found.errors.append(_error(ended.kind, ended.error_class, trace))
    elif ended.state is JobState.CANCELLED:
        found.errors.append(_cancelled(ended.error))
    return found


def _of_first(run: Run, status: TaskResultStatus) -> Result:
    spec = run.spec["python"]
    job = run.job
    found = of_new(
        _task(spec, queue=job.queue, priority=job.priority, run_after=None),
        run.id,
        spec.get("args", []),
        spec.get("kwargs", {}),
        spec.get("backend", ""),
        enqueued_at=job.created_at,
    )
    _set(
        found,
        status=status,
        started_at=job.started_at,
        last_attempted_at=job.started_at,
    )
    found.worker_ids.append(str(run.worker_id))
    return found


def _of_row(job_id: uuid.UUID, row: Sequence[Any]) -> Result:
    job = _Row._make(row)
    spec = json.loads(job.spec).get("python")
    if spec is None:
        raise TaskResultDoesNotExist(f"{job_id} is a job, and runs no task.")
    state = JobState(job.state)
    attempts = json.loads(job.failed)
    found = of_new(
        _task(spec, queue=job.queue, priority=job.priority, run_after=job.run_after),
        job_id,
        spec.get("args", []),
        spec.get("kwargs", {}),
        spec.get("backend", ""),
        enqueued_at=job.created_at,
    )
    begins = [datetime.fromisoformat(one["started_at"]) for one in attempts if one["started_at"]]
    # None where the newest claim of it did not begin.
    began = begins if job.started_at is None else [*begins, job.started_at]
    _set(
        found,
        status=STATUSES[state],
        started_at=min(began, default=None),
        last_attempted_at=max(began, default=None),
        finished_at=job.completed_at if state in JOB_FINAL else None,
    )
    if state is JobState.SUCCEEDED and job.result is not None:
        _set(found, _return_value=json.loads(job.result))
    found.errors.extend(
        _error(FailureKind(one["kind"]), one["error_class"], one["traceback"] or one["message"])
        for one in attempts
    )
    found.worker_ids.extend(one["worker_id"] for one in attempts if one["worker_id"])
    if job.started_at is not None and job.started_at not in begins and job.worker_id is not None:
        # The newest run has not failed: it goes on, or it was the one that ended the job.
        found.worker_ids.append(str(job.worker_id))
    if state is JobState.CANCELLED:
        found.errors.append(_cancelled(job.message))
    return found


def _task(
    spec: Mapping[str, Any], *, queue: str, priority: int, run_after: datetime | None
) -> AnyTask:
    try:
        task = callee(spec["task"]).task
    except (SpecInvalid, TaskNotFound) as error:
        raise InvalidTask(str(error)) from error
    if task is None:
        raise InvalidTask(f"task is {spec['task']!r}, which is a plain function and no task.")
    backend = spec.get("backend", task.backend)
    changes: dict[str, Any] = {}
    if task.queue_name != queue:
        changes["queue_name"] = queue
    if task.priority != priority:
        changes["priority"] = priority
    if task.run_after != run_after:
        changes["run_after"] = run_after
    if task.backend != backend:
        changes["backend"] = backend
    return replace(task, **changes) if changes else task


def _error(kind: FailureKind, error_class: str | None, text: str | None) -> TaskError:
    if error_class is None:
        by_kind: dict[FailureKind, type[BaseException]] = {
            FailureKind.EXECUTION_TIMEOUT: TimeoutError,
            FailureKind.INFRASTRUCTURE_ERROR: exceptions.RunLost,
        }
        error_class = class_path(by_kind.get(kind, exceptions.RunFailed))
    return TaskError(exception_class_path=error_class, traceback=text or "")


def _cancelled(message: str | None) -> TaskError:
    return TaskError(
        exception_class_path=class_path(exceptions.JobCancelled), traceback=message or ""
    )


def _set(result: Result, **values: Any) -> None:
    """They are frozen for whoever gets them."""
    for name, value in values.items():
        object.__setattr__(result, name, value)
