"""Starts the built-in sagas when they are needed: one runner of all looks, about once a second.

Each look is one transaction. Whatever it starts has a business key, so a second one of the same is
never there at once; and what has just failed is not started again at once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

from django.db import connections

from hodei.sql import statement
from jobs.services import workers
from jobs.services.workers import MAKING_SECONDS, SILENCE_SECONDS
from sagas.builtin import choice
from sagas.builtin.timeout import GRACE_SECONDS
from sagas.providers import registered
from sagas.registry import elected
from sagas.services.start import start
from sagas.states import SagaKind

logger = logging.getLogger(__name__)

ACTOR = "scheduler"
#: Sagas of one kind that one look starts.
MOST = 200
#: Seconds between two tries of what failed.
PAUSE_SECONDS = 30.0
#: Seconds that the server must have been there before silent workers are believed to be gone.
UPTIME_SECONDS = SILENCE_SECONDS
#: Seconds for which a worker that ended is left to those that ended it.
CLEANUP_AFTER_SECONDS = 60.0
#: Of a key of PROVISIONING.
QUEUE_KEY = "queue "


@elected(seconds=1.0)
def run_jobs(using: str) -> None:
    """EXECUTION for what waits, RECOVERY for what is lost, TIMEOUT for what does not end, and
    PROVISIONING where nobody would do it."""
    for job, correlation_id in _rows(using, "jobs_to_execute", number=MOST):
        _start(
            SagaKind.EXECUTION,
            {"job_id": str(job)},
            key=str(job),
            correlation_id=correlation_id or f"job-{job}",
            using=using,
        )
    lost = _rows(
        using,
        "jobs_to_recover",
        number=MOST,
        silence=SILENCE_SECONDS,
        uptime=UPTIME_SECONDS,
        pause=PAUSE_SECONDS,
    )
    for job, worker, correlation_id in lost:
        _start(
            SagaKind.RECOVERY,
            {"job_id": str(job), "worker_id": str(worker)},
            key=str(worker),
            correlation_id=correlation_id or f"job-{job}",
            using=using,
        )
    for job, correlation_id in _rows(using, "jobs_overdue", number=MOST, grace=GRACE_SECONDS):
        _start(
            SagaKind.TIMEOUT,
            {"job_id": str(job)},
            key=str(job),
            correlation_id=correlation_id or f"job-{job}",
            using=using,
        )
    if not lost:
        # A lost worker is replaced by its RECOVERY: one new worker is enough.
        _provide(using)


@elected(seconds=15.0)
def clean_up(using: str) -> None:
    """CLEANUP for what workers that have ended left behind."""
    for (worker,) in _rows(
        using,
        "workers_to_clean",
        number=MOST,
        types=list(registered()),
        age=CLEANUP_AFTER_SECONDS,
    ):
        _start(SagaKind.CLEANUP, {"worker_id": str(worker)}, key=str(worker), using=using)


@elected(seconds=5.0)
def lose_silent(using: str) -> None:
    """Give up workers that have vanished: where none is left, no other worker does it."""
    for (worker,) in _rows(
        using, "silent_workers", number=MOST, silence=SILENCE_SECONDS, uptime=UPTIME_SECONDS
    ):
        with suppress(workers.WorkerAlive, workers.WorkerNotFound, workers.WorkerStateConflict):
            workers.lose_worker(worker, reason="No sign of life.", actor=ACTOR, using=using)


def unserved(waiting: Iterable[str], serving: Collection[frozenset[str] | None]) -> list[str]:
    """Pure: the queues that have jobs and no worker; None serves all of them."""
    if None in serving:
        return []
    served = frozenset[str]().union(*(queues for queues in serving if queues is not None))
    return sorted(set(waiting) - served)


def _provide(using: str) -> None:
    waiting = [queue for (queue,) in _rows(using, "waiting_queues")]
    if not waiting:
        return
    at_work = _rows(using, "workers_at_work", making=MAKING_SECONDS, silence=SILENCE_SECONDS)
    queues = unserved(waiting, [_queues(text) for (text,) in at_work])
    if not queues:
        return
    busy = {key for (key,) in _rows(using, "recent_failures", pause=PAUSE_SECONDS)}
    for queue in queues:
        if f"{QUEUE_KEY}{queue}" in busy:
            continue
        provider = choice.provider_for(queue, using=using)
        if provider is None:
            continue
        _start(
            SagaKind.PROVISIONING,
            {"provider_id": str(provider)},
            key=f"{QUEUE_KEY}{queue}",
            correlation_id=f"provisioning-{queue}",
            using=using,
        )
        # It may serve the other queues, too: the next look sees.
        return


def _queues(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    return frozenset(name for name in json.loads(text) if isinstance(name, str))


def _rows(using: str, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connections[using].cursor() as cursor:
        cursor.execute(statement("sagas", name), parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _start(
    kind: SagaKind,
    given: dict[str, str],
    *,
    key: str,
    using: str,
    correlation_id: str | None = None,
) -> None:
    saga = start(
        kind.value, given, key=key, correlation_id=correlation_id, actor=ACTOR, using=using
    )
    logger.info("saga started kind=%s key=%s saga_id=%s", kind.value, key, saga)
