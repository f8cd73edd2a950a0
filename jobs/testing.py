"""For the tests of those who enqueue: was it enqueued, and what becomes of it?

    from jobs.testing import assert_enqueued, run_jobs

    def test_an_order_sends_an_invoice(db):
        place_order(number=7)
        assert_enqueued("shop.tasks.send_invoice", args=[7])
        (ran,) = run_jobs()
        assert ran.state == "SUCCEEDED"

Everything runs on Django's connection, inside the transaction of the test. Python jobs run in the
thread of the test, also async ones and those with a process of their own otherwise.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from psycopg.pq import TransactionStatus

from hodei.sql import statement
from jobs import leases, retry
from jobs.executors import Executor, SpecInvalid
from jobs.executors.python import PythonExecutor
from jobs.registry import executor_of
from jobs.runs import Claimed, Ended, Failed, Outcome, Run, failure_of
from jobs.states import FailureKind, JobState

#: Runs of one call of run_jobs: more are a job that enqueues itself, again and again.
MOST_RUNS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run of run_jobs."""

    id: uuid.UUID
    name: str
    spec: Mapping[str, Any]
    #: What the job is now: PENDING where it is to run again.
    state: JobState
    #: What it returned, and why it failed.
    result: Any
    error: str | None


def enqueued(name: str | None = None, *, using: str = DEFAULT_DB_ALIAS) -> list[dict[str, Any]]:
    """The jobs that have not run, in the order in which they were enqueued, and then those that are
    due later; as dicts of the arguments of ``enqueue`` and ``id``. ``name`` is that of the job,
    which for a task is its dotted path."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT j.id, spec::text, name, j.queue, j.priority, run_after, timeout, max_attempts, "
            "correlation_id, idempotency_key, metadata::text "
            "FROM jobs AS j LEFT JOIN job_queue AS q ON q.job_id = j.id "
            "WHERE state = 'PENDING' AND attempts = 0 AND (%s::text IS NULL OR name = %s) "
            "ORDER BY q.id NULLS LAST, run_after, j.id",
            [name, name],
        )
        return [
            {
                "id": row[0],
                "spec": json.loads(row[1]),
                "name": row[2],
                "queue": row[3],
                "priority": row[4],
                "run_after": row[5],
                "timeout": row[6],
                "max_attempts": row[7],
                "correlation_id": row[8],
                "idempotency_key": row[9],
                "metadata": json.loads(row[10]),
            }
            for row in cursor.fetchall()
        ]


def assert_enqueued(
    what: Any = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: str | None = None,
    times: int = 1,
    using: str = DEFAULT_DB_ALIAS,
) -> list[dict[str, Any]]:
    """Assert that so many such jobs are enqueued and have not run, and return them.

    ``what`` is a task, its dotted path, or the name of a job; None is any. ``args`` and ``kwargs``
    are those of a task. A failure tells what is enqueued.
    """
    name = getattr(what, "module_path", what)
    found = [
        job
        for job in enqueued(name, using=using)
        if (queue is None or job["queue"] == queue)
        and (args is None or _python(job).get("args", []) == list(args))
        and (kwargs is None or _python(job).get("kwargs", {}) == dict(kwargs))
    ]
    if len(found) != times:
        there = "".join(
            f"\n  {job['name'] or job['id']} in {job['queue']}: {json.dumps(job['spec'])}"
            for job in enqueued(using=using)
        )
        raise AssertionError(
            f"{len(found)} such jobs of {name or 'any name'} are enqueued and {times} were "
            f"expected. Enqueued are:{there or ' none at all'}"
        )
    return found


def run_jobs(
    *, queues: Sequence[str] = (), later: bool = False, using: str = DEFAULT_DB_ALIAS
) -> list[Ran]:
    """Run the jobs that are due, and those that they enqueue, until none is left; returns the runs,
    in order.

    As a worker does it, with its retries and states, but one after the other and in the test's own
    transaction. ``later`` runs what is due later, too, retries among it, as if its time had come.
    What a task does stays as it was where it fails, but for a statement that broke the transaction:
    then all that the task did is undone.
    """
    worker = uuid.uuid4()
    session = cast("Any", _OnDjangosConnection(using))
    inline = PythonExecutor(inline=True)
    found: list[Ran] = []
    rng = Random(0)  # noqa: S311  (the same pauses in every run)
    with transaction.atomic(using=using):
        while job := _claim(session, worker, queues, later=later):
            if len(found) >= MOST_RUNS:
                raise AssertionError(
                    f"{MOST_RUNS} runs, and there are more: a job enqueues itself, or is tried "
                    "again without end."
                )
            found.append(_run(session, job, worker, inline, rng, using=using))
    return found


def _claim(
    session: Any, worker: uuid.UUID, queues: Sequence[str], *, later: bool
) -> Claimed | None:
    if later:
        session.execute("UPDATE job_queue_deferred SET run_after = clock_timestamp()")
    leases.promote(session)
    wanted = queues or [
        row[0] for row in session.execute(statement("jobs", "queues"), {"most": None}).fetchall()
    ]
    jobs = leases.claim(session, worker, wanted, 1, starting=1) if wanted else []
    return jobs[0] if jobs else None


def _run(
    session: Any, job: Claimed, worker: uuid.UUID, inline: Executor, rng: Random, *, using: str
) -> Ran:
    run = Run(job, worker)
    with transaction.atomic(using=using):
        outcome = _outcome(run, inline)
        connection: Any = connections[using].connection
        if connection.info.transaction_status == TransactionStatus.INERROR:
            transaction.set_rollback(True, using=using)
    ended = retry.end(job, outcome, rng=rng, backoff=run.backoff or retry.DEFAULT_BACKOFF)
    ours = job.id in leases.finish(session, [ended])
    if run.told is not None:
        run.told(ended, ours)
    return _ran(session, run, ended)


def _outcome(run: Run, inline: Executor) -> Outcome:
    try:
        _, executor = executor_of(run.spec)
        if isinstance(executor, PythonExecutor):
            executor = inline
        limit = executor.default_timeout if run.job.timeout is None else run.job.timeout
        run.deadline = None if limit is None else time.monotonic() + limit
        return executor.run(run)
    except SpecInvalid as error:
        return Failed(FailureKind.CONFIGURATION_ERROR, str(error))
    except Exception as error:  # noqa: BLE001  (as the worker does)
        return failure_of(error)


def _ran(session: Any, run: Run, ended: Ended) -> Ran:
    row = session.execute("SELECT state, result::text FROM jobs WHERE id = %s", [run.id]).fetchone()
    state, result = row or (ended.state, ended.result)
    return Ran(
        id=run.id,
        name=run.job.name,
        spec=run.spec,
        state=JobState(state),
        result=None if result is None else json.loads(result),
        error=ended.error,
    )


def _python(job: Mapping[str, Any]) -> Mapping[str, Any]:
    found = job["spec"].get("python")
    return found if isinstance(found, dict) else {}


class _OnDjangosConnection:
    """What the statements of a worker need of a psycopg connection, on Django's."""

    def __init__(self, using: str) -> None:
        self._using = using

    def execute(self, sql: str, parameters: Any = None, *, binary: bool = False) -> Any:
        """The rows are the same in either format; Django's cursors know of one."""
        cursor = connections[self._using].cursor()
        cursor.execute(sql, parameters)
        return cursor
