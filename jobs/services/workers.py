"""The register of workers: they are made, register, live, drain and end.

A worker that ends, by whoever's decision, gives its jobs back in the same transaction. What it may
still do after that does nothing: its leases are gone, and its heartbeats are refused.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction
from django.db.models import DateTimeField, Func, Q

from hodei.sql import statement
from jobs import leases, telling
from jobs.events import KINDS, WorkerEvent
from jobs.models import Worker
from jobs.services import audit, providers, tokens
from jobs.states import WORKER_FINAL, WORKER_TRANSITIONS, WorkerState

#: Seconds without a sign of life after which a worker is gone, and while it is still being made.
SILENCE_SECONDS = 30.0
MAKING_SECONDS = 600.0
#: Jobs of one statement that puts them back.
_CHUNK = 1_000
#: Rows of one page of ``find``.
MOST_FOUND = 1_000

LIVE = frozenset(WorkerState) - WORKER_FINAL
REGISTERED = WorkerEvent.REGISTERED
LOST = WorkerEvent.LOST


class WorkerNotFound(LookupError):  # noqa: N818  (it reads as the fact it states)
    """There is no worker of this id."""

    def __init__(self, worker_id: uuid.UUID) -> None:
        super().__init__(f"There is no worker {worker_id}.")


class WorkerStateConflict(Exception):  # noqa: N818
    """The worker is in no state from which this is possible. Nothing was changed."""

    def __init__(self, worker_id: uuid.UUID, found: str, action: str, allowed: str) -> None:
        self.worker_id = worker_id
        self.found = found
        super().__init__(f"Worker {worker_id} is {found} and cannot {action}; {allowed}.")


class WorkerAlive(Exception):  # noqa: N818
    """The worker was to be given up as lost, and has given a sign of life. Nothing was changed."""

    def __init__(self, worker_id: uuid.UUID) -> None:
        super().__init__(
            f"Worker {worker_id} gave a sign of life within {SILENCE_SECONDS:.0f} seconds, so it "
            "is not lost. Terminate it to end it all the same."
        )


class JobHasWorker(Exception):  # noqa: N818
    """Another live worker has the job. Nothing was changed."""

    def __init__(self, job_id: uuid.UUID) -> None:
        super().__init__(f"Job {job_id} has a live worker already; one job has one at a time.")


def create(
    worker_id: uuid.UUID,
    *,
    provider_id: uuid.UUID,
    resource_id: str,
    actor: str,
    spec: Mapping[str, Any] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Note a worker that its provider is about to make: CREATING. Joins the caller's transaction.

    The provider is locked until it ends, so no two make more workers than it may have. Raises
    ProviderNotFound, ProviderNotActive, ProviderFull, and WorkerStateConflict for a known id.
    """
    with transaction.atomic(using=using):
        provider_type = providers.lock_room(provider_id, using=using)
        _insert(
            worker_id,
            WorkerState.CREATING,
            provider_id=provider_id,
            provider_type=provider_type,
            resource_id=resource_id,
            spec=spec,
            using=using,
        )
        _record(
            WorkerEvent.CREATED, worker_id, actor=actor, using=using, provider_id=str(provider_id)
        )


def register(
    worker_id: uuid.UUID,
    *,
    token: str,
    provider_id: uuid.UUID | None = None,
    resource_id: str = "",
    spec: Mapping[str, Any] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Let a worker in by its bootstrap token: CONNECTING, and READY with its first heartbeat.

    A worker that ``create`` has noted needs no more than the token; another one names its provider,
    which must have room. One transaction: where it is refused the token stays as good as it was. A
    refused token is in the audit for good, unless the caller's own transaction is rolled back.
    Raises a subclass of TokenRefused, WorkerStateConflict, and what ``create`` raises.
    """
    try:
        with transaction.atomic(using=using):
            public_id = tokens.spend(token, worker_id, using=using)
            _enter(worker_id, provider_id, resource_id, spec, using)
            _record(REGISTERED, worker_id, actor=f"worker {worker_id}", using=using,
                    public_id=str(public_id))  # fmt: skip
    except tokens.TokenRefused as error:
        _record(
            "BootstrapTokenRefused",
            worker_id,
            actor=f"worker {worker_id}",
            using=using,
            public_id=str(error.public_id) if error.public_id else None,
            outcome=error.refusal.value,
        )
        raise


def register_local(
    *,
    resource_id: str,
    worker_id: uuid.UUID | None = None,
    spec: Mapping[str, Any] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> uuid.UUID:
    """Let a process of this project in, without a token: it has the database's password.

    It is READY at once, under the provider ``local``, which is made with the first of them. Returns
    its id. Joins the caller's transaction.
    """
    found = worker_id or uuid.uuid4()
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(
            statement("jobs", "register_local"),
            {"worker": found, "resource": resource_id, "spec": json.dumps(dict(spec or {}))},
        )
        _record(REGISTERED, found, actor=f"worker {found}", using=using, provider="local")
    return found


def heartbeat(worker_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> WorkerState:
    """A sign of life; the first one makes a registered worker READY. Returns its state: one that is
    DRAINING or TERMINATING finishes what it runs and ends. Joins the caller's transaction.

    Give one every ten seconds: after SILENCE_SECONDS without, the worker is lost.

    Raises WorkerNotFound, and WorkerStateConflict for one that has ended or never registered; such
    a worker must stop.
    """
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
        raise _conflict(worker_id, "give a sign of life", "it must register, or end", using)
    if row[0] != row[1]:
        _tell_of(worker_id, WorkerState(row[0]), using)
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
    table does not have.
    """
    if to is WorkerState.TERMINATED:
        terminate(worker_id, reason=reason, actor=actor, using=using)
        return
    sources = [state.value for state in WorkerState if to in WORKER_TRANSITIONS[state]]
    with transaction.atomic(using=using):
        moved = (
            Worker.objects.using(using)
            .filter(pk=worker_id, state__in=sources)
            .update(state=to.value, updated_at=_clock())
        )
        if not moved:
            allowed = f"that is for one that is {_any_of(sources)}"
            raise _conflict(worker_id, f"become {to.value}", allowed, using)
        _record(WorkerEvent.STATE_CHANGED, worker_id, actor=actor, using=using, reason=reason,
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


def assign(worker_id: uuid.UUID, job_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Note the one job of a worker that runs one at a time: READY becomes BUSY. The lease decides
    who runs it; this is for those who look. Joins the caller's transaction.

    Raises WorkerNotFound, WorkerStateConflict for one that is not READY, and JobHasWorker.
    """
    try:
        with transaction.atomic(using=using):
            moved = (
                Worker.objects.using(using)
                .filter(pk=worker_id, state=WorkerState.READY, current_job=None)
                .update(state=WorkerState.BUSY, current_job=job_id, updated_at=_clock())
            )
    except IntegrityError as error:
        if "workers_one_live_per_job" in str(error):
            raise JobHasWorker(job_id) from error
        raise
    if not moved:
        raise _conflict(worker_id, "take a job", "only a READY one without a job can", using)
    _tell_of(worker_id, WorkerState.BUSY, using)


def release(worker_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """The worker has finished its one job: BUSY becomes READY, DRAINING stays. Joins the
    caller's transaction. Raises WorkerNotFound, and WorkerStateConflict for any other state."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE workers SET current_job_id = NULL, updated_at = clock_timestamp(), "
            "state = CASE state WHEN 'BUSY' THEN 'READY' ELSE state END "
            "WHERE id = %s AND state IN ('BUSY', 'DRAINING', 'TERMINATING') RETURNING state",
            [worker_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise _conflict(worker_id, "give its job back", "only a BUSY one can", using)
    if row[0] == WorkerState.READY:
        _tell_of(worker_id, WorkerState.READY, using)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPage:
    """Some workers, newest first, and where the next page begins; None where there is none."""

    workers: tuple[Worker, ...]
    after: tuple[datetime, uuid.UUID] | None


def find(
    *,
    states: Collection[WorkerState] = (),
    provider_id: uuid.UUID | None = None,
    provider_type: str | None = None,
    silent_since: datetime | None = None,
    after: tuple[datetime, uuid.UUID] | None = None,
    limit: int = 100,
    using: str = DEFAULT_DB_ALIAS,
) -> WorkerPage:
    """Return workers, newest first; each filter that is given must hold. ``silent_since`` finds
    those whose newest sign, or registration, is older. ``after`` is from the page before.

    Read-only. Raises ValueError for a limit outside 1 to MOST_FOUND.
    """
    if not 1 <= limit <= MOST_FOUND:
        raise ValueError(f"limit is {limit!r}; give 1 to {MOST_FOUND}.")
    rows = Worker.objects.using(using).order_by("-created_at", "-id")
    if states:
        rows = rows.filter(state__in=[state.value for state in states])
    if provider_id is not None:
        rows = rows.filter(provider_id=provider_id)
    if provider_type is not None:
        rows = rows.filter(provider_type=provider_type)
    if silent_since is not None:
        rows = rows.filter(
            Q(last_heartbeat__lt=silent_since) | Q(last_heartbeat=None, created_at__lt=silent_since)
        )
    if after is not None:
        instant, last = after
        rows = rows.filter(created_at__lte=instant).exclude(created_at=instant, id__gte=last)
    found = tuple(rows[: limit + 1])
    shown = found[:limit]
    more = len(found) > limit
    return WorkerPage(workers=shown, after=(shown[-1].created_at, shown[-1].pk) if more else None)


def _enter(
    worker_id: uuid.UUID,
    provider_id: uuid.UUID | None,
    resource_id: str,
    spec: Mapping[str, Any] | None,
    using: str,
) -> None:
    """Into CONNECTING, from CREATING or from nowhere. Registering is a sign of life."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE workers SET state = 'CONNECTING', last_heartbeat = clock_timestamp(), "
            "updated_at = clock_timestamp() WHERE id = %s AND state = 'CREATING'",
            [worker_id],
        )
        if cursor.rowcount:
            return
    if Worker.objects.using(using).filter(pk=worker_id).exists():
        raise _conflict(worker_id, "register", "a worker registers once", using)
    if provider_id is None:
        raise WorkerNotFound(worker_id)
    provider_type = providers.lock_room(provider_id, using=using)
    _insert(
        worker_id,
        WorkerState.CONNECTING,
        provider_id=provider_id,
        provider_type=provider_type,
        resource_id=resource_id,
        spec=spec,
        using=using,
    )


def _insert(
    worker_id: uuid.UUID,
    state: WorkerState,
    *,
    provider_id: uuid.UUID,
    provider_type: str,
    resource_id: str,
    spec: Mapping[str, Any] | None,
    using: str,
) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "INSERT INTO workers (id, provider_id, provider_type, provider_resource_id, state, "
            "spec, handle, created_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s::jsonb, '{}', "
            "clock_timestamp(), clock_timestamp()) ON CONFLICT (id) DO NOTHING",
            [
                *(worker_id, provider_id, provider_type, resource_id, state.value),
                json.dumps(dict(spec or {})),
            ],
        )
        if not cursor.rowcount:
            raise _conflict(worker_id, "be made again", "give a new id", using)


def _lock(worker_id: uuid.UUID, using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT FROM workers WHERE id = %s FOR UPDATE", [worker_id])
        if cursor.fetchone() is None:
            raise WorkerNotFound(worker_id)


def _end(worker_id: uuid.UUID, event: str, *, reason: str, actor: str, using: str) -> int:
    """TERMINATED, and its jobs put back. The worker's row is locked first, then its leases."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE workers SET state = 'TERMINATED', current_job_id = NULL, "
            "updated_at = clock_timestamp() WHERE id = %s AND state <> 'TERMINATED'",
            [worker_id],
        )
        if not cursor.rowcount:
            raise _conflict(worker_id, "be ended", "it has ended", using)
        cursor.execute(
            "UPDATE job_leases SET expires_at = clock_timestamp() - interval '1 second' "
            "WHERE worker_id = %s",
            [worker_id],
        )
        held, jobs = cursor.rowcount, 0
        while held > 0:
            cursor.execute(
                telling.text("rescue"),
                {
                    "number": _CHUNK,
                    "most": leases.MOST_LOST_LEASES,
                    "apart": leases.APART_SECONDS,
                    "message": leases.LOST,
                },
            )
            rows = cursor.fetchall()
            jobs += sum(row[3] == worker_id for row in rows)
            if len(rows) < _CHUNK:
                break
    _record(event, worker_id, actor=actor, using=using, reason=reason, jobs=jobs)
    return jobs


def _any_of(states: Collection[str]) -> str:
    return " or ".join(states) or "in no state at all"


def _clock() -> Func:
    return Func(function="clock_timestamp", output_field=DateTimeField())


def _conflict(worker_id: uuid.UUID, action: str, allowed: str, using: str) -> Exception:
    state = Worker.objects.using(using).filter(pk=worker_id).values_list("state", flat=True).first()
    if state is None:
        return WorkerNotFound(worker_id)
    return WorkerStateConflict(worker_id, state, action, allowed)


def _tell_of(worker_id: uuid.UUID, state: WorkerState, using: str) -> None:
    """What a worker does by itself, where all transitions are on record."""
    if telling.is_told(WorkerEvent.STATE_CHANGED):
        event, actor = WorkerEvent.STATE_CHANGED, f"worker {worker_id}"
        _record(event, worker_id, actor=actor, using=using, state=state.value)


def _record(event: str, worker_id: uuid.UUID, *, actor: str, using: str, **facts: Any) -> None:
    about = worker_id if event in KINDS else None
    payload = {"worker_id": str(worker_id), **facts}
    audit.record(event, payload, actor=actor, about=about, using=using)
