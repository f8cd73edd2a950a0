"""Calls what one of all runners does beside driving sagas (``sagas.registry.elected``), in a thread
of its own."""

from __future__ import annotations

import logging
import threading
import time
from asyncio import CancelledError

from django.db import Error, close_old_connections, connections, transaction

from sagas.registry import Chore, chores

logger = logging.getLogger(__name__)

#: The first number of the lock of a chore; the second is the hash of its name.
CHORE = 0x73616703


def run_chore(chore: Chore, using: str) -> bool:
    """Call it unless another runner is at it; True if it was called. What it raises passes."""
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute(
                "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [CHORE, chore.name]
            )
            (ours,) = cursor.fetchone()
        if ours:
            chore.function(using)
    return bool(ours)


class Chores:
    """Started and stopped by its runner."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saga chores", daemon=True)

    def start(self) -> None:
        if chores():
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        due = {chore.name: 0.0 for chore in chores()}
        try:
            while not self._stop.is_set():
                for chore in chores():
                    if time.monotonic() >= due.get(chore.name, 0.0):
                        self._call(chore)
                        due[chore.name] = time.monotonic() + chore.seconds
                soonest = min(due.values()) - time.monotonic()
                self._stop.wait(min(max(soonest, 0.01), 1.0))
        finally:
            connections.close_all()

    def _call(self, chore: Chore) -> None:
        close_old_connections()
        try:
            run_chore(chore, self._using)
        except Error as error:
            logger.warning("chore failed chore=%s error=%s", chore.name, error)
        except (Exception, SystemExit, CancelledError):
            logger.exception("chore failed chore=%s", chore.name)
