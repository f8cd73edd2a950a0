"""Keeps the leases of a runner while that is busy: in a thread and over a connection of its own, so
that a long local step costs no lease."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hodei.sessions import connect
from sagas.held import Held
from sagas.leases import RENEWALS, Leases

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)


class Keeper:
    """Started and stopped by its runner. ``held`` gives the sagas whose leases are to be kept."""

    def __init__(self, using: str, leases: Leases, held: Callable[[], Sequence[Held]]) -> None:
        self._using = using
        self._leases = leases
        self._held = held
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saga leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        from psycopg import Error  # noqa: PLC0415

        session: psycopg.Connection[Any] | None = None
        while not self._stop.wait(self._leases.seconds / RENEWALS):
            sagas = self._held()
            if not sagas:
                continue
            try:
                session = session or connect(self._using, "hodei sagas leases")
                asked = time.monotonic()
                renewed = self._leases.renew(session, sagas)
                for held in sagas:
                    if held.saga.id in renewed:
                        held.valid_until = max(held.valid_until, asked + self._leases.seconds)
            except Error as error:
                # Without a renewal no step is called any more.
                logger.warning("leases could not be renewed error=%s", error)
                if session is not None:
                    session.close()
                session = None
        if session is not None:
            session.close()
