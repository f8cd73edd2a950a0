"""Every statement of Django's connection during a run: limited, and watched while it waits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hodei.schema.run.concurrently import Verdict, clear_the_way, is_concurrent
from hodei.schema.run.progress import Progress
from hodei.schema.run.timeouts import Timeouts
from hodei.schema.run.watch import Watch

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper


class Statements:
    """Called with each statement, as Django's wrapper around the execution of it."""

    def __init__(
        self,
        connection: DatabaseWrapper,
        *,
        timeouts: Timeouts,
        watch: Watch,
        progress: Progress,
    ) -> None:
        self._connection = connection
        self._timeouts = timeouts
        self._watch = watch
        self._progress = progress

    def settle(self) -> None:
        """The limits and the watch are those of the session that Django has now."""
        if self._timeouts.settle():
            self._watch.pid = self._connection.connection.info.backend_pid

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        *rest: Any,
    ) -> Any:
        """Execute the statement; what it waited inside a transaction is charged to the attempt."""
        self.settle()
        inside = self._connection.in_atomic_block
        if not inside and is_concurrent(sql):
            return self._concurrently(execute, sql, params, *rest)
        waited = 0.0
        self._watch.begin()
        try:
            outcome = execute(sql, params, *rest)
        finally:
            waited = self._watch.end()
        if waited and inside:
            self._timeouts.charge(waited)
        return outcome

    def _concurrently(self, execute: Callable[..., Any], sql: str, params: Any, *rest: Any) -> Any:
        from psycopg import Error  # noqa: PLC0415

        connection = self._connection
        self._timeouts.lift()
        self._watch.begin()
        try:
            with connection.wrap_database_errors:
                verdict, told = clear_the_way(connection.connection, sql)
            if told:
                self._progress.say(told)
            return None if verdict is Verdict.DONE else execute(sql, params, *rest)
        finally:
            self._watch.end()
            with suppress(Error):
                self._timeouts.restore()
