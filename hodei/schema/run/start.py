"""The way into a run of ``migrate``: takes the lock, sets the limits, opens the history.

    with migration_run("default", command="migrate") as run:
        call_command(django_migrate.Command(), ...)
    run.results

What the pieces do: ``lock`` lets one run in at a time, ``timeouts`` and ``watch`` keep a blocked
migration from blocking others, ``history`` records each attempt, ``executor`` is how all of that
gets into Django's command.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from hodei.schema import conf, history
from hodei.schema.connection import check_connection, require_postgresql
from hodei.schema.run import lock
from hodei.schema.run.executor import RecordingExecutor, exchanged
from hodei.schema.run.origin import origin_of
from hodei.schema.run.progress import Progress
from hodei.schema.run.run import MigrationRun
from hodei.schema.run.sidecar import Facts, facts_of, open_session
from hodei.schema.run.statements import Statements
from hodei.schema.run.timeouts import Timeouts
from hodei.schema.run.watch import Watch

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.postgresql.base import DatabaseWrapper

#: The run of a thread on an alias: a migration's code may call migrate for the same database.
_current: dict[tuple[int, str], MigrationRun] = {}


@contextmanager
def migration_run(
    using: str,
    *,
    command: str,
    lock_wait: float = conf.LOCK_WAIT_SECONDS,
    lock_retries: int = conf.LOCK_RETRIES,
    progress: Progress | None = None,
) -> Iterator[MigrationRun]:
    """Inside the block this thread's ``migrate`` for the alias runs alone and is recorded.

    Raises ConnectionFailed, EngineNotSupported, LockNotFree, HistoryNotWritable or LockLost, and
    what the block raises as it is.
    """
    connection = require_postgresql(using)
    check_connection(using)
    key = threading.get_ident(), using
    shown = progress or Progress()
    outer = _current.get(key)
    with ExitStack() as stack:
        if outer is not None:
            run = outer.within(shown)
        else:
            run = _begin(
                stack,
                connection,
                command=command,
                wait=lock_wait,
                retries=lock_retries,
                progress=shown,
            )
        _current[key] = run
        try:
            with exchanged(_builder(connection, run)):
                yield run
        finally:
            if outer is None:
                del _current[key]
            else:
                _current[key] = outer


def _begin(
    stack: ExitStack,
    connection: DatabaseWrapper,
    *,
    command: str,
    wait: float,
    retries: int,
    progress: Progress,
) -> MigrationRun:
    limit = conf.lock_timeout()
    facts = facts_of(connection)
    origin = origin_of(command, facts.role)
    holder = stack.enter_context(open_session(connection, pooled=facts.pooled))
    deadline = stack.enter_context(
        lock.run_lock(holder, facts.schema, wait=wait, tell=progress.say, pooled=facts.pooled)
    )
    session = holder
    if facts.pooled:
        # The transaction that holds the lock must neither write nor end.
        session = stack.enter_context(open_session(connection, pooled=True))
    else:
        stack.enter_context(_working(connection, holder, facts, deadline, progress))
    timeouts = Timeouts(connection, facts, limit)
    stack.callback(timeouts.leave)
    watch = Watch(session, limit=limit, tick=progress.tick)
    stack.callback(watch.stop)
    statements = Statements(connection, timeouts=timeouts, watch=watch, progress=progress)
    run = MigrationRun(
        connection,
        origin=origin,
        records=history.History(session, facts.schema, origin),
        # Not pooled, the record itself goes over the session that holds the lock.
        holds=_asks(holder) if facts.pooled else _nothing,
        timeouts=timeouts,
        watch=watch,
        statements=statements,
        retries=retries,
        progress=progress,
    )
    stack.enter_context(connection.execute_wrapper(statements))
    return run


@contextmanager
def _working(
    connection: DatabaseWrapper,
    session: psycopg.Connection[Any],
    facts: Facts,
    deadline: float,
    progress: Progress,
) -> Iterator[None]:
    """Wait until what a killed run had sent is over. See Note [Two locks] in ``lock``."""
    from psycopg import Error  # noqa: PLC0415

    if connection.in_atomic_block:
        # It could not be given back if the caller's transaction fails.
        yield
        return
    raw = connection.connection
    numbers = f"{lock.WORK}, {lock.key_of(facts.schema)}"
    lock.poll(
        lambda: bool(raw.execute(f"SELECT pg_try_advisory_lock({numbers})").fetchone()[0]),
        deadline,
        lambda: lock.holders(session, lock.WORK, facts.schema),
        progress.say,
    )
    try:
        yield
    finally:
        # A migration's code may have closed the connection, and the lock with it.
        if connection.connection is raw:
            with suppress(Error):
                raw.execute(f"SELECT pg_advisory_unlock({numbers})")


def _builder(connection: DatabaseWrapper, run: MigrationRun) -> Callable[..., Any]:
    def build(other: Any, progress_callback: Callable[..., Any] | None = None) -> Any:
        if other is not connection:
            # A migration's code migrates another database: that is a run of its own.
            from django.db.migrations.executor import MigrationExecutor  # noqa: PLC0415

            return MigrationExecutor(other, progress_callback)
        return RecordingExecutor(other, progress_callback, run=run)

    return build


def _asks(session: psycopg.Connection[Any]) -> Callable[[], None]:
    def ask() -> None:
        session.execute("SELECT")

    return ask


def _nothing() -> None:
    """There is nothing to ask."""
