"""For those who hook into ``migrate``. Receivers get keyword arguments; what they raise is logged
and stops nothing.

- ``run_started``: using, batch (a UUID), plan (list of (app, name, direction)); sent when there is
  something to do, after the lock is held
- ``migration_started``: using, batch, app, name, direction, attempt (from 1)
- ``migration_finished``: using, batch, result (MigrationResult), faked; after its commit, which
  several may share
- ``migration_failed``: using, batch, result, exception; for each attempt, also one to be retried
- ``run_finished``: using, batch, results (of MigrationResult), success
"""

from __future__ import annotations

import logging

from django.dispatch import Signal

logger = logging.getLogger(__name__)

run_started = Signal()
migration_started = Signal()
migration_finished = Signal()
migration_failed = Signal()
run_finished = Signal()


def announce(signal: Signal, **facts: object) -> None:
    """Send to every receiver, whatever the others do."""
    for receiver, answer in signal.send_robust(sender=None, **facts):
        if isinstance(answer, Exception):
            logger.error("receiver=%r of a migration signal failed", receiver, exc_info=answer)
