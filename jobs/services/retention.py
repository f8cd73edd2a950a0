"""Deletes what is old enough: jobs that have ended, audit records, workers that have ended, tokens
that nobody can use any more, and log files.

In batches, each a transaction of its own: it holds no lock for long, it may be stopped at any
moment, and the next call goes on where it was. One at a time prunes a database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.values import check_age, check_limit
from jobs.logs.conf import KEPT_KEY, TTL_KEY
from jobs.states import JOB_FINAL, JobState

#: The number of the lock of whoever prunes.
PRUNE = 0x6A6F6204
#: Rows of one batch.
BATCH, MOST_OF_A_BATCH = 1_000, 100_000
#: Rows that a preview counts; of more it is only known that there are so many.
MOST_COUNTED = 1_000_000
#: How long things are kept where nobody says.
JOBS_KEPT: Mapping[JobState, timedelta] = {
    JobState.SUCCEEDED: timedelta(days=7),
    JobState.CANCELLED: timedelta(days=7),
    JobState.FAILED: timedelta(days=30),
    JobState.TIMEOUT: timedelta(days=30),
}


class PruneBusy(Exception):  # noqa: N818  (it reads as the fact it states)
    """Another process prunes this database. What this one has deleted before stays deleted."""

    def __init__(self) -> None:
        super().__init__("Another process prunes this database. Let it end, or try again later.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long things are kept after their end; None keeps them for ever."""

    #: By final state; a state that is missing is kept for ever.
    jobs: Mapping[JobState, timedelta | None] = field(default_factory=lambda: JOBS_KEPT)
    audit: timedelta | None = timedelta(days=90)
    workers: timedelta | None = timedelta(days=30)
    tokens: timedelta | None = timedelta(days=1)
    #: Whether log files go whose own time is up.
    logs: bool = True

    def __post_init__(self) -> None:
        """Refuse what would delete something that has not ended."""
        for state, age in self.jobs.items():
            if state not in JOB_FINAL:
                raise ValueError(f"jobs has {state}, which is no final state; nothing ended there.")
            check_age(f"jobs[{state}]", age)
        for name in ("audit", "workers", "tokens"):
            check_age(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted of one kind, or would be (``is_capped``: so many, or more)."""

    what: str
    rows: int
    is_capped: bool = False


def prune(
    keep: Keep | None = None,
    *,
    using: str = DEFAULT_DB_ALIAS,
    batch: int = BATCH,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Pruned]:
    """Delete what is old, kind after kind, and yield what was deleted of each. ``stop`` is asked
    between batches. Each batch is a transaction: not to be called within one.

    Raises PruneBusy, and ValueError for a batch outside 1 to MOST_OF_A_BATCH.
    """
    check_limit(batch, MOST_OF_A_BATCH, "batch")
    for what, condition, parameters in _kinds(keep or Keep(), using):
        yield Pruned(what, _delete(what, condition, parameters, using, batch, stop))
        if stop():
            return
    logs = _logs()
    if logs is not None and (keep or Keep()).logs:
        yield Pruned("log files", _purge(logs, using, stop))


def preview(keep: Keep | None = None, *, using: str = DEFAULT_DB_ALIAS) -> Iterator[Pruned]:
    """Yield what ``prune`` would delete now, without log files. Read-only."""
    for what, condition, parameters in _kinds(keep or Keep(), using):
        table = _TABLES[_kind_of(what)].name
        with connections[using].cursor() as cursor:
            cursor.execute(
                f"SELECT count(*) FROM (SELECT FROM {table} WHERE {condition} LIMIT %(most)s) AS s",  # noqa: S608
                {**parameters, "most": MOST_COUNTED},
            )
            number = cursor.fetchone()[0]
        yield Pruned(what, number, is_capped=number == MOST_COUNTED)


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    key: str
    #: The column whose index leads to the oldest. That of workers has none: a heartbeat writes it,
    #: and must touch no index. There are as many workers as processes were started lately.
    order: str
    #: Whether somebody may have one of its rows; to lock one needs the right to change it.
    is_changed: bool = True


_TABLES = {
    "jobs": _Table("jobs", "id", "created_at"),
    "audit": _Table("audit_logs", "id", "occurred_at", is_changed=False),
    "workers": _Table("workers", "id", "updated_at"),
    "tokens": _Table("worker_bootstrap_tokens", "token", "expires_at"),
}
# A job ends after it was made: the index of states and times leads to it. With it goes its log, so
# it stays where that has a time of its own, or somebody has it kept.
_JOBS = (
    "state = %(state)s AND created_at < %(before)s "
    "AND coalesce(completed_at, updated_at) < %(before)s "
    f"AND NOT (metadata ?| ARRAY['{TTL_KEY}', '{KEPT_KEY}'] AND EXISTS (SELECT "
    "FROM job_log_files AS f WHERE f.job_id = jobs.id AND f.expires_at > clock_timestamp()))"
)
_AUDIT = "occurred_at < %(before)s"
# By its row it is found what a provider made for it, and is there still: CLEANUP notes the end.
_WORKERS = (
    "state IN ('TERMINATED', 'FAILED') AND updated_at < %(before)s "
    "AND (handle ? 'infrastructure' AND NOT handle ? 'destroyed') IS NOT TRUE"
)
# Used or not: what has expired lets nobody in.
_TOKENS = "expires_at < %(before)s"


def _kinds(keep: Keep, using: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What there is to delete, by the database's clock: its name, which rows, their parameters."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    for state, age in keep.jobs.items():
        if age is not None:
            yield f"{state} jobs", _JOBS, {"state": state.value, "before": now - age}
    for what, condition, age in (
        ("audit records", _AUDIT, keep.audit),
        ("workers that ended", _WORKERS, keep.workers),
        ("tokens", _TOKENS, keep.tokens),
    ):
        if age is not None:
            yield what, condition, {"before": now - age}


def _kind_of(what: str) -> str:
    return "jobs" if what.endswith("jobs") else what.split(maxsplit=1)[0]


def _delete(  # noqa: PLR0917
    what: str,
    condition: str,
    parameters: dict[str, Any],
    using: str,
    batch: int,
    stop: Callable[[], bool],
) -> int:
    table = _TABLES[_kind_of(what)]
    lock = "FOR UPDATE SKIP LOCKED" if table.is_changed else ""
    # From the oldest on, and never back: what was deleted is not walked over again. Where it was is
    # a text: there are times that only the server can read.
    statement = (
        f"WITH old AS (SELECT {table.key}, {table.order} FROM {table.name} WHERE {condition} "  # noqa: S608
        f"AND {table.order} >= %(from)s::timestamptz ORDER BY {table.order} LIMIT %(number)s "
        f"{lock}), gone AS (DELETE FROM {table.name} AS t USING old "
        f"WHERE t.{table.key} = old.{table.key} RETURNING old.{table.order}) "
        f"SELECT count(*), max({table.order})::text FROM gone"
    )
    deleted: int = 0
    begin: Any = "-infinity"
    while True:
        with transaction.atomic(using=using, durable=True), connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, 0)", [PRUNE])
            if not cursor.fetchone()[0]:
                raise PruneBusy
            cursor.execute("SET LOCAL hodei.retention = 'on'")
            cursor.execute(statement, {**parameters, "from": begin, "number": batch})
            number, newest = cursor.fetchone()
        deleted += number
        if number < batch or stop():
            return deleted
        begin = newest


def _logs() -> Callable[..., Any] | None:
    """What purges log files, where this installation has it."""
    if find_spec("jobs.services.logs") is None:
        return None
    return getattr(import_module("jobs.services.logs"), "purge_logs", None)


def _purge(logs: Callable[..., Any], using: str, stop: Callable[[], bool]) -> int:
    deleted: int = 0
    while True:
        found = logs(using=using)
        deleted += int(found.files)
        # A file that cannot be deleted now is left for another day.
        if not (found.expired or found.files) or stop():
            return deleted
