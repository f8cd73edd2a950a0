"""Runs steps that are local: on Django's connection, many sagas in one transaction with the record
of what they did. See Note [Together, or alone]."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

from django.db import DatabaseError, Error, connections, transaction

from jobs.retry import storable
from sagas import points, settle
from sagas.calls import Half, call, context_of
from sagas.definition import Step
from sagas.held import Held
from sagas.leases import Leases
from sagas.ledger import record
from sagas.plan import is_past_pivot
from sagas.records import Change
from sagas.session import DjangoSession
from sagas.settle import At, Delayed, Did, Outcome, Refused
from sagas.stepping import Target, intent, is_local, move_on, targets

# Note [Together, or alone]
# A commit costs more than five steps that do little, and so do two savepoints. So the local steps
# of many sagas, all that come one after the other, share a transaction. When a step in it raises,
# all of it is undone and run again with a savepoint for each saga, as are the next transactions for
# a while; a saga in which a step raises is undone to its savepoint and run alone, in a transaction
# of its own, each step in a savepoint. What the server finds wrong at the commit only, as it does
# with deferred constraints, may be any of them: all are run alone, and one that is refused so, step
# by step. The code of a local step may therefore run more than once; its writes count once. A saga
# whose runner was gone is run alone at once, after the others.

logger = logging.getLogger(__name__)

#: Seconds after which a transaction takes no further saga, and no further step of one: what people
#: ask for is met between two.
LONGEST_BATCH = 0.1
#: So many transactions after a failure have savepoints.
CAREFUL = 20
#: Django has marked the transaction of a step that returned as one to be undone.
MARKED = (
    "Its transaction cannot be kept: an error of the database was caught in it, or set_rollback() "
    "called. Put what may fail into transaction.atomic()."
)
#: The settings of the server that end what takes too long.
STATEMENT, IDLE = "statement_timeout", "idle_in_transaction_session_timeout"


class _NotDoneError(Exception):
    """Undoes a savepoint."""


class _GoneError(Exception):
    """Undoes a transaction: its session has been ended."""


class _RefusedError(Exception):
    """The server has refused a commit: what the transaction did is undone, for sure."""


class _LostError(Exception):
    """Undoes a transaction: a saga in it is not ours any more."""


class LocalSteps:
    def __init__(self, using: str, leases: Leases, rng: Random) -> None:
        self._using = using
        self._leases = leases
        self._rng = rng
        self._session = DjangoSession(using)
        #: How many transactions with savepoints are to come.
        self._careful = 0
        #: The server's limits before this transaction had its own.
        self._before: tuple[str, str] | None = None
        #: The step that was called last, and whether it took longer than it may.
        self._called: Target | None = None
        self._overdue: Target | None = None

    def run(self, sagas: Sequence[Held]) -> list[Held]:
        """Move these sagas on as far as local steps lead, as many as the time allows; returns those
        that were dealt with. Lost ones are marked.

        A saga that is left ``unsure`` has to be read again: its transaction may be committed or
        not. Errors of the database pass.
        """
        # One of those whose runners were gone may be what killed them: it takes no other with it.
        alone = [held for held in sagas if held.saga.lost]
        rest = [held for held in sagas if not held.saga.lost]
        dealt = self._several(rest, alone) if rest else []
        for held in alone:
            dealt += self._alone(held)
        return dealt

    def _several(self, sagas: Sequence[Held], alone: list[Held]) -> list[Held]:
        """Together; those that have to be run alone after all are added to ``alone``."""
        if not self._careful:
            try:
                return self._together(sagas, alone, savepoints=False)
            except (_NotDoneError, _RefusedError, Error) as error:
                if any(held.unsure for held in sagas):
                    raise
                logger.debug("local steps are run again, with savepoints error=%r", error)
                self._careful = CAREFUL
        self._careful -= 1
        try:
            return self._together(sagas, alone, savepoints=True)
        except _RefusedError:
            alone += [held for held in sagas if held not in alone]
            return []

    def _together(
        self, sagas: Sequence[Held], alone: list[Held], *, savepoints: bool
    ) -> list[Held]:
        tries: list[tuple[Held, Held]] = []
        began = time.monotonic()

        def body() -> None:
            limits = [step.timeout.total_seconds() for held in sagas for step in _locals(held)]
            self._limit(min(limits, default=0.0), max(limits, default=0.0))
            for held in sagas:
                if tries and time.monotonic() - began > LONGEST_BATCH:
                    break
                copy = held.snapshot()
                until = time.monotonic() + LONGEST_BATCH
                if not savepoints:
                    self._advance(copy, until)
                    tries.append((held, copy))
                    continue
                try:
                    with transaction.atomic(using=self._using):
                        self._advance(copy, until)
                except (_NotDoneError, DatabaseError):
                    alone.append(held)
                    if self._is_gone():
                        break
                else:
                    tries.append((held, copy))
            if self._is_gone():
                raise _GoneError
            self._unlimit()
            self._record([copy for _, copy in tries])

        try:
            self._in_transaction(body, tries)
        except _GoneError:
            # All of it is undone; the next look has the others again.
            connections[self._using].close()
            return []
        return [held for held, _ in tries]

    def _alone(self, held: Held) -> list[Held]:
        # One whose runners were gone is written down step by step: it is clear which it was.
        if not held.saga.lost:
            with suppress(_RefusedError):
                return self._alone_for(held, most=None)
        try:
            return self._alone_for(held, most=1)
        except _RefusedError as error:
            called = self._called
            if called is None:
                raise
            refused = _cannot_be_kept(error.__cause__ or error)
        return self._refuse(held, called, refused)

    def _alone_for(self, held: Held, *, most: int | None) -> list[Held]:
        tries: list[tuple[Held, Held]] = []

        def body() -> None:
            copy = held.snapshot()
            self._advance_carefully(copy, most=most)
            tries.append((held, copy))
            self._unlimit()
            self._record([copy])

        self._called = self._overdue = None
        try:
            self._in_transaction(body, tries)
        except Error:
            overdue = self._was_overdue()
            if overdue is None or held.unsure:
                raise
            # It took so long that the server has ended its session.
            connections[self._using].close()
            return self._refuse(held, overdue, _too_long(overdue[1]))
        return [held]

    def _was_overdue(self) -> Target | None:
        return self._overdue

    def _refuse(self, held: Held, target: Target, refused: Refused) -> list[Held]:
        """Write down that the step has failed, which nobody could do with what it did."""
        copy = held.snapshot()

        def body() -> None:
            begun = intent(copy, target, self._leases.clock.now())
            self._end(copy, begun, target, refused)
            self._record([copy])

        self._in_transaction(body, [(held, copy)])
        return [held]

    def _in_transaction(self, body: Any, tries: list[tuple[Held, Held]]) -> None:
        written = False
        committed: list[bool] = []
        self._before = None
        is_ours = not connections[self._using].in_atomic_block
        try:
            with transaction.atomic(using=self._using):
                if is_ours:
                    # The first of those that wait for the commit, whose errors are none of it.
                    transaction.on_commit(lambda: committed.append(True), using=self._using)
                body()
                written = True
                points.reach("before commit")
        except _LostError:
            for held, copy in tries:
                held.lost = copy.lost
            tries.clear()
            return
        except BaseException as error:
            is_answer = isinstance(error, Error) and not self._is_gone()
            if is_ours and written and is_answer and not committed:
                raise _RefusedError from error
            # The commit may have failed, or something that waited for it.
            for held, _ in tries:
                held.unsure = written
            raise
        points.reach("after commit")
        for held, copy in tries:
            held.become(copy)

    def _record(self, copies: Sequence[Held]) -> None:
        if record(self._session, self._leases, copies):
            raise _LostError

    def _advance(self, held: Held, until: float) -> None:
        """All local steps that come now, and are begun by then. Raises _NotDoneError if one is not
        done."""
        while (found := self._next(held)) is not None:
            begun = intent(held, found, self._leases.clock.now())
            outcome = self._call(held, begun, found)
            if not isinstance(outcome, Did):
                raise _NotDoneError
            self._end(held, begun, found, outcome)
            if time.monotonic() > until:
                return

    def _advance_carefully(self, held: Held, *, most: int | None = None) -> None:
        """So many local steps that come now, and are begun in time; None is all."""
        left, until = most, time.monotonic() + LONGEST_BATCH
        while (found := self._next(held)) is not None and left != 0:
            left = None if left is None else left - 1
            begun = intent(held, found, self._leases.clock.now())
            try:
                with transaction.atomic(using=self._using):
                    limit = found[1].timeout.total_seconds()
                    self._limit(limit, limit)
                    outcome = self._call(held, begun, found)
                    if not isinstance(outcome, Did):
                        transaction.set_rollback(True, using=self._using)
            except Error as error:
                if self._is_gone():
                    raise
                outcome = _cannot_be_kept(error)
            self._end(held, begun, found, outcome)
            if time.monotonic() > until:
                return

    def _next(self, held: Held) -> Target | None:
        move = move_on(held, self._leases.clock, self._rng)
        calls = [] if move is None else targets(held, move)
        return next((one for one in calls if one[1].local), None) if is_local(calls) else None

    def _call(self, held: Held, begun: Change, target: Target) -> Outcome:
        _, step, half = target
        (row,) = begun.steps
        self._called = target
        began = time.monotonic()
        context = context_of(held.saga, held.steps, row, half, self._using)
        outcome = call(step, half, context)
        if time.monotonic() - began > step.timeout.total_seconds():
            self._overdue = target
            return _too_long(step) if isinstance(outcome, Did) else outcome
        if isinstance(outcome, Did) and transaction.get_rollback(using=self._using):
            # Its savepoint would be undone without a word.
            return Refused(MARKED, "TransactionManagementError")
        return outcome

    def _end(self, held: Held, begun: Change, target: Target, outcome: Outcome) -> None:
        (row,) = begun.steps
        _, step, half = target
        past = is_past_pivot(held.definition, held.steps)
        at = At(self._leases.clock.now(), self._rng, past)
        if half is Half.COMPENSATION:
            ended = settle.end_undoing(step, row, held.saga, outcome, at)
        elif isinstance(outcome, Delayed):
            before = held.steps[row.order]
            put_off = settle.put_off(before, row, held.saga, outcome.seconds, at)
            held.apply(settle.came_back(put_off))
            return
        else:
            ended = settle.end_action(step, row, held.saga, outcome, at)
        held.apply(settle.came_back(settle.at_once(begun, ended)))

    def _is_gone(self) -> bool:
        """Whether there is no connection any more, so that nothing can be written down."""
        connection: Any = connections[self._using].connection
        return connection is None or bool(connection.closed)

    def _limit(self, shortest: float, longest: float) -> None:
        """Let the server end statements, and transactions that do nothing, which take longer."""
        row = self._session.execute(
            f"SELECT current_setting('{STATEMENT}'), current_setting('{IDLE}'), "
            f"set_config('{STATEMENT}', %s, true), set_config('{IDLE}', %s, true)",
            [f"{max(round(shortest * 1000), 1)}", f"{max(round(longest * 1000), 1) + 1000}"],
        ).fetchone()
        if self._before is None:
            self._before = row[:2]

    def _unlimit(self) -> None:
        """As it was when the transaction began."""
        if self._before is not None:
            self._session.execute(
                f"SELECT set_config('{STATEMENT}', %s, true), set_config('{IDLE}', %s, true)",
                self._before,
            )


def _too_long(step: Step) -> Refused:
    return Refused(f"It took more than {step.timeout.total_seconds():g} s.", settle.TIMED_OUT)


def _cannot_be_kept(error: BaseException) -> Refused:
    return Refused(storable(f"Its transaction cannot be kept: {error}"), type(error).__name__)


def _locals(held: Held) -> list[Step]:
    return [step for step in held.definition.steps if step.local]
