"""A worker's own row in the register: made when the process begins, ended when it does."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hodei.sessions import connect
from jobs import assignments, registration
from jobs.events import WorkerEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg


class Presence:
    """Each call is one transaction, on connections of its own; none is open while the worker works.

    ``spec`` is what its row says of it.
    """

    def __init__(self, using: str, worker: uuid.UUID, spec: Mapping[str, Any]) -> None:
        self._using = using
        self._worker = worker
        self._spec = spec
        #: From ``begin_leaving`` to ``leave``.
        self._session: psycopg.Connection[Any] | None = None

    def enter(self, identity: registration.Identity | None = None) -> None:
        """Register: as whom somebody made it to be, or as one of this project's own. Raises what
        ``registration.enter`` does, and psycopg.Error."""
        if identity is not None:
            registration.enter(self._using, identity)
            return
        with self._connect() as session, session.transaction():
            registration.enter_local(session, self._worker, self._spec)

    def begin_leaving(self) -> None:
        """Let nobody lease another job to it. A database that is away is not waited for."""
        from psycopg import Error  # noqa: PLC0415

        with suppress(Error):
            self._session = self._connect()
            with self._session.transaction():
                if assignments.begin_leaving(self._session, self._worker):
                    registration.tell(
                        self._session, self._worker, WorkerEvent.STATE_CHANGED, state="DRAINING"
                    )

    def leave(self) -> None:
        """End the row, and give back what was leased to it meanwhile. A database that is away is
        not waited for: leases run out."""
        from psycopg import Error  # noqa: PLC0415

        session, self._session = self._session, None
        if session is not None:
            try:
                with session:
                    self._end(session)
            except Error:
                # What ran may have taken hours, in which the connection was lost.
                pass
            else:
                return
        with suppress(Error), self._connect() as session:
            self._end(session)

    def _end(self, session: psycopg.Connection[Any]) -> None:
        with session.transaction():
            ended = session.execute(
                "UPDATE workers SET state = 'TERMINATED', current_job_id = NULL, "
                "updated_at = clock_timestamp() WHERE id = %s AND state <> 'TERMINATED'",
                [self._worker],
            ).rowcount
            if ended:
                registration.tell(session, self._worker, WorkerEvent.TERMINATED)
            assignments.leave(session, self._worker)

    def _connect(self) -> psycopg.Connection[Any]:
        return connect(self._using, "hodei jobs worker")
