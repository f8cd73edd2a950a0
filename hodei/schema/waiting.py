"""Wait until the schema of a database is what this code needs: in one process, at little cost.

A shell loop around ``migrate --check`` starts Django anew for every look. Here it is started once,
and each look is one query.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS, Error

from hodei.schema.connection import ConnectionFailed, require_postgresql
from hodei.schema.errors import SchemaError
from hodei.schema.readiness import KnownMigrations, Readiness, count_of, names_of
from hodei.schema.reasons import Reason
from hodei.schema.status import MigrationTableHidden

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

FIRST_DELAY = 0.1
LONGEST_DELAY = 2.0
#: Between two looks at the tables themselves, which cost more.
DRIFT_DELAY = 5.0
GROWTH = 1.6
JITTER = 0.25
#: What one look may take where no time limit says less: an attempt to connect, or ``--timeout 0``.
LOOK_SECONDS = 10.0

#: The exit code of what could not be verified now, and may be later.
UNVERIFIED = 3
#: Waiting cures none of these.
_HOPELESS = frozenset({Reason.BAD_OPTION, Reason.TOO_OLD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the waiting ended."""

    #: What the last look found; None where it could not read the database.
    readiness: Readiness | None
    #: What is still missing, or None.
    missing: str | None

    @property
    def is_valid(self) -> bool:
        return self.missing is None


class _TimeUp(BaseException):
    """Raised by the alarm into whatever hangs; no ``except Exception`` on its way may hold it."""


def delays(rng: random.Random) -> Iterator[float]:
    """Seconds between looks: growing to two, each a little off, so that many do not ask at once."""
    delay = FIRST_DELAY
    while True:
        yield delay * rng.uniform(1 - JITTER, 1 + JITTER)
        delay = min(delay * GROWTH, LONGEST_DELAY)


def wait_until_valid(
    using: str = DEFAULT_DB_ALIAS,
    *,
    seconds: float,
    tell: Callable[[str], None],
    migrations: KnownMigrations | None = None,
    drift: Callable[[], str | None] | None = None,
    own_process: bool = False,
) -> Outcome:
    """Look until the schema is valid or the time is up; 0 seconds is one look.

    Uses a connection of its own, with no transaction open between two looks. ``tell`` is called
    with what is missing, at first and whenever that changes. In a process of its own (the caller
    leaves SIGALRM to it) a server that neither answers nor refuses is given up in time as well.
    ``drift`` is called where the records are valid, and returns what is wrong with the tables or
    None; a SchemaError of it with exit code 3 is waited for, too.
    Several last migrations end it at once, since the files of a process do not change.
    Raises what waiting does not cure: EngineNotSupported, MigrationGraphBroken, and for a bad
    option or a server that is too old ConnectionFailed.
    """
    known = migrations or KnownMigrations()
    deadline = time.monotonic() + seconds
    connection = _own_connection(using, seconds)
    outcome = Outcome(readiness=None, missing="it gives no answer")
    told: str | None = None
    pauses = delays(random.Random())  # noqa: S311  (to spread load, not to hide anything)
    try:
        with _alarm(seconds or LOOK_SECONDS) if own_process else nullcontext():
            while True:
                outcome = _look(known, connection)
                looked_closer = outcome.is_valid and drift is not None
                if outcome.is_valid and drift is not None:
                    outcome = _look_closer(drift, outcome)
                if outcome.is_valid or (outcome.readiness and outcome.readiness.conflicting):
                    return outcome
                left = deadline - time.monotonic()
                if left <= 0:
                    return outcome
                if outcome.missing != told and outcome.missing is not None:
                    told = outcome.missing
                    tell(told)
                pause = max(next(pauses), DRIFT_DELAY if looked_closer else 0)
                time.sleep(min(pause, left))
    except _TimeUp:
        return outcome
    finally:
        connection.close()


def _look(known: KnownMigrations, connection: BaseDatabaseWrapper) -> Outcome:
    try:
        found = known.check(connection)
    except ConnectionFailed as failure:
        connection.close()
        if failure.reason in _HOPELESS:
            raise
        words = "" if failure.words.lower() == failure.reason else f" ({failure.words})"
        return Outcome(readiness=None, missing=f"{failure.reason}{words}")
    except MigrationTableHidden as error:
        return Outcome(readiness=None, missing=str(error).rstrip("."))
    except Error as error:
        connection.close()
        words = " ".join(str(error).split())
        return Outcome(readiness=None, missing=f'it cannot be read ("{words}")')
    if found.conflicting:
        missing = f"several last migrations in {', '.join(found.conflicting)}"
    elif found.pending:
        number = count_of(found.pending, "migration")
        missing = f"{number} pending ({names_of(found.pending)})"
    else:
        return Outcome(readiness=found, missing=None)
    return Outcome(readiness=found, missing=missing)


def _look_closer(drift: Callable[[], str | None], outcome: Outcome) -> Outcome:
    try:
        return Outcome(readiness=outcome.readiness, missing=drift())
    except SchemaError as error:
        if error.exit_code != UNVERIFIED:
            raise
        return Outcome(readiness=None, missing=str(error).rstrip("."))


def _own_connection(using: str, seconds: float) -> BaseDatabaseWrapper:
    """A connection of this call's own, not opened yet, which gives up where nobody answers."""
    connection = require_postgresql(using).copy()
    options = {**connection.settings_dict.get("OPTIONS", {})}
    options.pop("pool", None)
    # libpq takes whole seconds, and less than two as two.
    options.setdefault("connect_timeout", max(2, round(min(seconds or LOOK_SECONDS, LOOK_SECONDS))))
    connection.settings_dict["OPTIONS"] = options
    return connection


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise _TimeUp in the block when the time is up. For the main thread alone."""

    def ring(_number: int, _frame: object) -> None:
        raise _TimeUp

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
