"""What a saga is: its kind, and its steps, each an action with the compensation that undoes it.

    @register
    class PlaceOrder(Saga):
        kind = "PLACE_ORDER"
        deadline = timedelta(hours=1)
        steps = [
            Step("reserve", reserve, release, local=True),
            Step("charge", charge, refund, verify=find_charge, retry=Retry(attempts=3)),
            Step("ship", ship, pivot=True),
            Step("thank", thank),
        ]

``register`` is in ``sagas.registry``; modules named ``sagas`` of installed apps are imported when
Django starts. Actions, compensations and verifications are plain functions of a StepContext, or
their dotted paths.

What holds:

* A ``local`` step runs on Django's connection, in the transaction that records it. Its writes count
  exactly once; whatever it raises undoes them. Its function may be called again after that.
* Any other step runs with no transaction open, in a thread of the runner, after its intent was
  committed: at least once, and each time with the same ``context.key``. What it raises says what is
  known: StepFailed, for sure not done; anything else, and a crash or a timeout, nobody knows.
* A step of which nobody knows is UNKNOWN. Its ``verify`` is asked and returns ``Done(output)``,
  NOT_DONE, or UNSURE: then it is asked again, as often as ``verify_retry`` says. Without
  ``verify``, and in the end, it is compensated as if it had been done; only with
  ``Retry(unknown=True)`` its action is called again with the same key, while attempts are left.
* A step that raises ``Later(seconds)`` waits: the saga rests, holding no thread and no lease, and
  the action is called again then, as the same attempt; also when nobody knows of a call of it and
  its ``verify``, if it has one, is unsure. ``total_timeout`` bounds the wait, and ``timeout`` each
  call. When the saga turns back meanwhile, the step is UNKNOWN.
* A compensation must take "never happened" and "already undone" for fine; it is called until it
  returns, with pauses, ``compensation_retry.attempts`` times, and is then PARKED for a person.
  ``context.outputs`` has the output of its own step where that is known.
* Steps in a row with one ``group`` run at once. A saga turns back when none of them runs any more.
* After the ``pivot`` is done a saga only goes forward: ``attempts`` is no limit any more, and what
  cannot go on (``total_timeout``, StepFailed without retry, UNKNOWN with no way to find out) waits
  for a person. The pivot and what follows have no compensations.

Pure: no Django, no database.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, ClassVar, Final, Literal, TypeAlias

from hodei.backoff import Backoff

#: Characters of a kind, and of the name of a step.
LONGEST_NAME = 100
#: Seconds that an action may ask to be left alone.
SHORTEST_WAIT, LONGEST_WAIT = 0.1, 366 * 86_400.0


class StepFailed(Exception):  # noqa: N818  (it reads as the fact it states)
    """For sure not done, by no call with this key. Tried again while attempts are left, unless
    ``retry`` is false."""

    #: Of a subclass, too, that does not call ``__init__``.
    retry: bool = True

    def __init__(self, message: str = "", *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry


class Unknown(Exception):  # noqa: N818
    """Done or not, nobody knows: what any exception but StepFailed says of a step that is not
    local."""


class Later(Exception):  # noqa: N818
    """Not done yet, and nothing is wrong: call the action again in so many seconds, 0.1 or more.
    Raises ValueError for more than a year, and for what is no number."""

    #: Of a subclass, too, that does not call ``__init__``.
    seconds: float = 1.0

    def __init__(self, seconds: float) -> None:
        found = float(seconds)
        if not found <= LONGEST_WAIT:
            raise ValueError(
                f"Later({seconds}) is no time to wait; give seconds, at most {LONGEST_WAIT:,.0f}."
            )
        super().__init__(f"again in {seconds} s")
        self.seconds = max(found, SHORTEST_WAIT)


@dataclass(frozen=True, slots=True)
class Done:
    """The answer of ``verify``: it was done, and this was its output."""

    output: Any = None


class Answer(Enum):
    """The other answers of ``verify``."""

    NOT_DONE = "not done"
    UNSURE = "unsure"


NOT_DONE: Final = Answer.NOT_DONE
UNSURE: Final = Answer.UNSURE

Verdict: TypeAlias = Done | Literal[Answer.NOT_DONE, Answer.UNSURE]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a function of a step gets."""

    saga_id: uuid.UUID
    kind: str
    #: The name of the step.
    step: str
    #: What the saga was started with.
    input: Any
    #: The outputs of the steps that are done, by name; for a compensation, that of its own too.
    outputs: Mapping[str, Any]
    #: The idempotency key of the step: the same for each attempt, its verification and its
    #: compensation, and of no other step.
    key: str
    #: Grows with each runner that drives the saga: whoever has seen a higher one may refuse.
    lease_epoch: int
    #: 1 for the first try, of an action or of a compensation.
    attempt: int
    correlation_id: str | None = None
    actor: str | None = None
    #: The alias of the database in which the saga is.
    using: str = "default"


Action: TypeAlias = Callable[[StepContext], Any]
Verification: TypeAlias = Callable[[StepContext], Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often to try, and the pauses in between: they double from ``base`` to ``cap``, in
    seconds, and are jittered (``hodei.backoff``)."""

    attempts: int = 1
    base: float = 1.0
    cap: float = 60.0
    #: Call an action again also when nobody knows whether it was done: only where the other side
    #: does nothing twice for one key.
    unknown: bool = False

    @property
    def backoff(self) -> Backoff:
        return Backoff(base=self.base, cap=self.cap)


#: Of a compensation and of a verification that do not say otherwise: some minutes of attempts.
COMPENSATION_RETRY = Retry(attempts=10, base=1.0, cap=300.0)
VERIFY_RETRY = Retry(attempts=10, base=1.0, cap=60.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Functions are callables, or dotted paths to such."""

    name: str
    action: Action | str
    compensation: Action | str | None = None
    local: bool = field(default=False, kw_only=True)
    verify: Verification | str | None = field(default=None, kw_only=True)
    #: How long one call may take. Of a step that is not local: then it is UNKNOWN. Of a local one:
    #: its statements are cancelled, and it has failed.
    timeout: timedelta = field(default=timedelta(seconds=30), kw_only=True)
    #: How long all attempts and pauses together may take, from the first one.
    total_timeout: timedelta | None = field(default=None, kw_only=True)
    retry: Retry = field(default=Retry(), kw_only=True)
    compensation_retry: Retry = field(default=COMPENSATION_RETRY, kw_only=True)
    verify_retry: Retry = field(default=VERIFY_RETRY, kw_only=True)
    pivot: bool = field(default=False, kw_only=True)
    group: str | None = field(default=None, kw_only=True)


class Saga:
    """A definition: subclass it, and register the class. It is never instantiated.

    Two classes of one kind with different versions may be registered together: ``start`` takes the
    highest, and sagas that were started with the other end with that.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    #: From the start; a saga that has not passed its pivot by then turns back.
    deadline: ClassVar[timedelta | None] = None
    #: Sagas of this kind that are under way at once, on all machines: IN_PROGRESS or COMPENSATING,
    #: those that wait for a time or a person among them. Others are PENDING until there is room.
    limit: ClassVar[int | None] = None
    steps: ClassVar[Sequence[Step]] = ()


def steps_hash(saga: type[Saga]) -> str:
    """SHA-256 of what a change of which needs a new version: names, order, groups, pivot, what is
    local and what can be undone. Timeouts and retries may change at any time."""
    shape = [
        [step.name, step.local, step.pivot, step.group, step.compensation is not None]
        for step in saga.steps
    ]
    text = json.dumps(shape, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
