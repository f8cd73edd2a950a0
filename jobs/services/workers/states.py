"""A worker gives signs of life, drains and ends.

One that ends, by whoever's decision, gives its jobs back in the same transaction. What it may
still do after that does nothing: its leases are gone, and its heartbeats are refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import DateTimeField, Func

from hodei.values import member
from jobs import leases, telling
from jobs.events import WorkerEvent
from jobs.models import Worker
from jobs.services import audit
from jobs.services.workers.recording import record, tell_of
from jobs.services.workers.refusals import WorkerAlive, WorkerNotFound, conflict, known
from jobs.services.workers.silence import SILENCE_SECONDS
from jobs.states import WORKER_TRANSITIONS, WorkerState

#: Jobs of one statement that puts them back.
_CHUNK = 1_000

LOST = WorkerEvent.LOST


def heartbeat(worker_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> WorkerState:
    """A sign of life; the first one makes a registered worker READY. Returns its state: one that is
    DRAINING or TERMINATING finishes what it runs and ends. Joins the caller's transaction.

    Give one every ten seconds: after SILENCE_SECONDS without, the worker is lost.

    Raises WorkerNotFound, and WorkerStateConflict for one that has ended or never registered; such
    a worker must stop.
    """
    known(worker_id)
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE workers SET last_heartbeat = clock_timestamp(), updated_at = clock_timestamp(),"
            " state = CASE WHEN state IN ('CONNECTING', 'REGISTERED') THEN 'READY' ELSE state END "
            "WHERE id = %s AND state NOT IN ('CREATING', 'TERMINATED', 'FAILED') RETURNING state, "
            "(SELECT before.state FROM workers AS before WHERE before.id = workers.id)",
            [worker_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise conflict(worker_id, "give a sign of life", "it must register, or end", using)
    if row[0] != row[1]:
        tell_of(worker_id, WorkerState(row[0]), using)
    return WorkerState(row[0])


def move(
    worker_id: uuid.UUID,
    to: WorkerState,
    *,
    reason: str,
    actor: str,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Bring a worker into another state, by the table of transitions. Joins the
    caller's transaction.

    Into TERMINATED it is ``terminate``. Raises WorkerNotFound, and WorkerStateConflict for what the
    table does not have, and ValueError for what is no state.
    """
    known(worker_id)
    to = member(WorkerState, "to", to)
    if to is WorkerState.TERMINATED:
        terminate(worker_id, reason=reason, actor=actor, using=using)
        return
    sources = [state.value for state in WorkerState if to in WORKER_TRANSITIONS[state]]
    with transaction.atomic(using=using):
        moved = (
            Worker.objects.using(using)
            .filter(pk=worker_id, state__in=sources)
            .update(state=to.value, updated_at=clock())
        )
        if not moved:
            allowed = f"that is for one that is {_any_of(sources)}"
            raise conflict(worker_id, f"become {to.value}", allowed, using)
        record(WorkerEvent.STATE_CHANGED, worker_id, actor=actor, using=using, reason=reason,
                state=to.value)  # fmt: skip


def drain(worker_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS) -> None:
    """Let a worker finish what it runs, take nothing more, and end. Joins the caller's transaction.
    Raises WorkerNotFound and WorkerStateConflict."""
    move(worker_id, WorkerState.DRAINING, reason=reason, actor=actor, using=using)


def terminate(
    worker_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> int:
    """End a worker now, and give its jobs to others; returns how many. What it still runs is not
    written down: it has lost its leases. Joins the caller's transaction.

    Raises WorkerNotFound, and WorkerStateConflict for one that has ended.
    """
    with transaction.atomic(using=using):
        _lock(worker_id, using)
        return _end(worker_id, WorkerEvent.TERMINATED, reason=reason, actor=actor, using=using)


def lose_worker(
    worker_id: uuid.UUID, *, reason: str, actor: str = audit.SYSTEM, using: str = DEFAULT_DB_ALIAS
) -> int:
    """Give up a worker that has vanished, and give its jobs to others; returns how many. Workers
    look for such ones by themselves, so only who knows it sooner calls this. Joins the
    caller's transaction.

    Raises WorkerNotFound, WorkerStateConflict for one that has ended, and WorkerAlive.
    """
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        _lock(worker_id, using)
        cursor.execute(
            "SELECT FROM workers WHERE id = %s AND coalesce(last_heartbeat, created_at) "
            "> clock_timestamp() - %s * interval '1 second'",
            [worker_id, SILENCE_SECONDS],
        )
        if cursor.fetchone() is not None:
            raise WorkerAlive(worker_id)
        return _end(worker_id, LOST, reason=reason, actor=actor, using=using)


def _lock(worker_id: uuid.UUID, using: str) -> None:
    known(worker_id)
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT FROM workers WHERE id = %s FOR UPDATE", [worker_id])
        if cursor.fetchone() is None:
            raise WorkerNotFound(worker_id)


def _end(worker_id: uuid.UUID, event: str, *, reason: str, actor: str, using: str) -> int:
    """TERMINATED, and its jobs put back. The worker's row is locked first, then its leases in the
    order of their jobs; not those of others, whom somebody may be ending at the same moment."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE workers SET state = 'TERMINATED', current_job_id = NULL, "
            "updated_at = clock_timestamp() WHERE id = %s AND state <> 'TERMINATED'",
            [worker_id],
        )
        if not cursor.rowcount:
            raise conflict(worker_id, "be ended", "it has ended", using)
        cursor.execute(
            "UPDATE job_leases SET expires_at = clock_timestamp() - interval '1 second' "
            "WHERE job_id = ANY(ARRAY(SELECT job_id FROM job_leases WHERE worker_id = %s "
            "ORDER BY job_id FOR NO KEY UPDATE))",
            [worker_id],
        )
        held, jobs = cursor.rowcount, 0
        while held > 0:
            cursor.execute(
                telling.text("rescue"),
                {
                    "worker": worker_id,
                    "number": _CHUNK,
                    "most": leases.MOST_LOST_LEASES,
                    "apart": leases.APART_SECONDS,
                    "message": leases.LOST,
                },
            )
            found = len(cursor.fetchall())
            jobs += found
            if found < _CHUNK:
                break
    record(event, worker_id, actor=actor, using=using, reason=reason, jobs=jobs)
    return jobs


def _any_of(states: Collection[str]) -> str:
    return " or ".join(states) or "in no state at all"


def clock() -> Func:
    return Func(function="clock_timestamp", output_field=DateTimeField())
