"""For the tests of those who define sagas: run one, let time pass, and let it crash everywhere.

    from sagas.testing import crash_everywhere, run_saga

    def test_an_order_is_shipped(db):
        ended = run_saga("PLACE_ORDER", {"item": 7})
        assert ended.outcome == "COMPLETED"

    def test_nothing_is_left_of_an_order_that_cannot_be_shipped(db):
        for ended in crash_everywhere("PLACE_ORDER", {"item": 7}, failing="ship"):
            assert ended.outcome == "COMPENSATED"

Everything runs on Django's connection, inside the transaction of the test, in its thread. The clock
does not go on by itself: ``advance`` moves what is stored into the past.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from sagas import points, registry
from sagas.calling import Inline
from sagas.definition import Saga, StepContext, StepFailed
from sagas.models import Saga as SagaModel
from sagas.models import SagaAuditEvent, SagaStep
from sagas.runner import Runner, RunnerOptions
from sagas.services.start import start
from sagas.session import DjangoSession
from sagas.states import SagaOutcome, SagaState, StepState

#: Looks of one call at what is due: more are a saga that waits for something for ever.
MOST_LOOKS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A saga as it is now. ``crashed_at`` is the point of ``sagas.points`` at which the runner
    died."""

    id: uuid.UUID
    kind: str
    state: SagaState
    outcome: SagaOutcome | None
    error: str | None
    incident: str | None
    steps: Mapping[str, StepState]
    outputs: Mapping[str, Any]
    #: Its audit: types of events, each with the name of the step.
    events: tuple[tuple[str, str | None], ...]
    crashed_at: str | None = None


def run_saga(
    kind: str,
    input: Mapping[str, Any] | None = None,  # noqa: A002
    *,
    key: str | None = None,
    failing: str | None = None,
    later: bool = True,
    using: str = DEFAULT_DB_ALIAS,
) -> Ran:
    """Start a saga, and drive it to its end or until it waits for a person.

    ``failing`` is the name of a step whose action fails for sure. With ``later`` false time stands
    still, and the saga may rest until something is due.
    """
    definition = _failing(kind, failing)
    saga = start(kind, input, key=key, using=using)
    run_sagas(later=later, definition=definition, using=using)
    return seen(saga, using=using)


def run_sagas(
    *,
    later: bool = False,
    definition: type[Saga] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Drive all sagas that are due; with ``later`` let time pass until none ever is.

    ``definition`` replaces the registered one of its kind and version.
    """
    for _ in range(MOST_LOOKS):
        _runner(definition, using).drain(DjangoSession(using))
        if not later:
            return
        seconds = _until_due(using)
        if seconds is None:
            return
        advance(timedelta(seconds=seconds), using=using)
    raise AssertionError(f"{MOST_LOOKS} looks, and a saga still waits for another one.")


def advance(span: timedelta, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Let so much time pass, for all sagas that are live: leases, pauses and deadlines end."""
    parameters: Any = {"span": span}
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE sagas SET due_at = due_at - %(span)s, lease_until = lease_until - %(span)s, "
            "deadline_at = deadline_at - %(span)s WHERE outcome IS NULL",
            parameters,
        )
        cursor.execute(
            "UPDATE saga_steps SET due_at = due_at - %(span)s, timeout_at = timeout_at - %(span)s, "
            "deadline_at = deadline_at - %(span)s "
            "WHERE saga_id IN (SELECT id FROM sagas WHERE outcome IS NULL)",
            parameters,
        )


def crash_everywhere(
    kind: str,
    input: Mapping[str, Any] | None = None,  # noqa: A002
    *,
    failing: str | None = None,
    prepare: Callable[[], object] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Iterator[Ran]:
    """Run the saga again and again: each time the runner dies at another point, before and after
    each write, commit, action, verification and compensation, and another one takes over when the
    lease ends. Yields what became of the saga, each time; what the database got is undone then.

    ``prepare`` is called before each run, to reset what is no database.
    """
    definition = _failing(kind, failing)
    for number in range(MOST_LOOKS):
        if prepare is not None:
            prepare()
        with transaction.atomic(using=using):
            saga = start(kind, input, using=using)
            crashed_at = _crash(number, definition, using)
            if crashed_at is not None:
                run_sagas(later=True, definition=definition, using=using)
                yield replace(seen(saga, using=using), crashed_at=crashed_at)
            transaction.set_rollback(True, using=using)
        if crashed_at is None:
            return


def seen(saga: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> Ran:
    """A saga as it is now."""
    row = SagaModel.objects.using(using).get(pk=saga)
    steps = list(SagaStep.objects.using(using).filter(saga_id=saga).order_by("step_order"))
    told = SagaAuditEvent.objects.using(using).filter(saga_id=saga).order_by("occurred_at")
    done = {StepState.COMPLETED, StepState.SKIPPED}
    return Ran(
        id=saga,
        kind=row.saga_type,
        state=SagaState(row.state),
        outcome=None if row.outcome is None else SagaOutcome(row.outcome),
        error=row.error_message,
        incident=row.incident,
        steps={step.step_name: StepState(step.state) for step in steps},
        outputs={step.step_name: step.output_data for step in steps if step.state in done},
        events=tuple(told.values_list("event_type", "step_name")),
    )


class _CrashError(BaseException):
    """The runner dies here."""


def _crash(number: int, definition: type[Saga] | None, using: str) -> str | None:
    """Run until the point of this number, and say which it was; None if there are not so many."""
    reached: list[str] = []

    def die(point: str) -> None:
        reached.append(point)
        if len(reached) > number:
            raise _CrashError

    with points.listening(die):
        try:
            # A process that dies leaves its transaction undone, and nothing else.
            run_sagas(later=True, definition=definition, using=using)
        except _CrashError:
            return reached[-1]
    return None


def _runner(definition: type[Saga] | None, using: str) -> Runner:
    known = [
        definition
        if definition is not None
        and (one.kind, one.version) == (definition.kind, definition.version)
        else one
        for one in registry.definitions()
    ]
    options = RunnerOptions(using=using, definitions=known)
    return Runner(options, rng=Random(0), calling=Inline())  # noqa: S311


def _failing(kind: str, name: str | None) -> type[Saga] | None:
    """The definition with a step whose action fails."""
    definition = registry.definition(kind)
    if name is None:
        return None
    if name not in {step.name for step in definition.steps}:
        known = ", ".join(step.name for step in definition.steps)
        raise AssertionError(f"{kind} has no step {name!r}; it has {known}.")

    def fail(_context: StepContext) -> None:
        raise StepFailed("It fails in this test.", retry=False)

    steps = [replace(step, action=fail) if step.name == name else step for step in definition.steps]
    return type(definition.__name__, (definition,), {"steps": steps})


def _until_due(using: str) -> float | None:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM sagas "
            "WHERE outcome IS NULL AND steps_hash IS NOT NULL"
        )
        (seconds,) = cursor.fetchone()
    return None if seconds is None else max(seconds, 0.0) + 0.001
