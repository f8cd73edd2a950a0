"""Keeps the leases of a relay while that is busy, and tells others that it lives.

In a thread and over a connection of its own: a destination that is slow, or a long statement, must
not cost a lease.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from hodei.sessions import connect
from hodei.sql import statement
from outbox.lanes import RENEWALS

if TYPE_CHECKING:
    import psycopg

    from outbox.breaker import Breaker
    from outbox.lanes import Leases

logger = logging.getLogger(__name__)


class Keeper:
    """Started and stopped by its relay."""

    def __init__(self, using: str, leases: Leases, breaker: Breaker, *, listens: bool) -> None:
        #: How many relays share the destination, this one among them.
        self.relays = 1
        #: Lanes that nobody has taken from one look to the next: some of the relays are limited.
        self.untaken = 0
        self._free = 0
        self._using = using
        self._leases = leases
        self._breaker = breaker
        self._listens = listens
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def leave(self, session: psycopg.Connection[Any]) -> None:
        """Tell the others that this relay is gone."""
        session.execute(
            "DELETE FROM outbox_relays WHERE destination = %s AND owner = %s",
            [self._leases.destination, self._leases.owner],
        )

    def _run(self) -> None:
        from psycopg import Error  # noqa: PLC0415

        session: psycopg.Connection[Any] | None = None
        while True:
            try:
                session = session or connect(self._using, "hodei outbox leases")
                self._keep(session)
            except Exception as error:
                # Without a renewal the relay stops sending by itself; without this thread it would
                # never begin again.
                if isinstance(error, Error):
                    logger.warning("leases could not be renewed error=%s", error)
                else:
                    logger.exception("leases could not be renewed")
                if session is not None:
                    session.close()
                session = None
            if self._stop.wait(self._leases.seconds / RENEWALS):
                break
        if session is not None:
            session.close()

    def _keep(self, session: psycopg.Connection[Any]) -> None:
        lost = self._leases.renew(session)
        if lost:
            logger.warning(
                "leases were lost destination=%s lanes=%s", self._leases.destination, lost
            )
        ((relays, free),) = session.execute(
            statement("outbox", "report_relay"),
            {
                "destination": self._leases.destination,
                "owner": self._leases.owner,
                "wakes_by": "notify" if self._listens else "polling",
                "breaker": self._breaker.state.value,
                "breaker_error": self._breaker.error,
                "seconds": self._leases.seconds,
            },
        ).fetchall()
        self.untaken = min(self._free, free) if relays == self.relays else 0
        self.relays, self._free = relays, free
