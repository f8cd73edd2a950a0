"""What a step may raise that is no ordinary error: its saga bears it, and neither its runner nor
others do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from sagas.definition import Later, Retry, Saga, Step, StepContext, StepFailed
from sagas.plan import MOST_LOST
from sagas.states import SagaOutcome, StepState
from sagas.testing import seen
from tests.sagas.conftest import Sagas
from tests.sagas.test_runner.kit import Plain, outcome
from tests.sagas.world import local, undo_local

SOON = Retry(attempts=2, base=0.001, cap=0.002)


class OutOfStock(StepFailed):
    """As somebody writes it who has something else to say."""

    def __init__(self, item: int) -> None:
        self.item = item


class Busy(Later):
    def __init__(self) -> None:
        pass


class Stopped(BaseException):
    pass


def raising(error: BaseException) -> Callable[[StepContext], Any]:
    def act(_context: StepContext) -> Any:
        raise error

    return act


def of(name: str, *steps: Step) -> type[Saga]:
    return type(name.title(), (Saga,), {"kind": name, "steps": steps})


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), Stopped("?")])
def test_a_call_that_ends_its_thread_is_unknown_at_once_and_costs_no_slot(
    sagas: Sagas, error: BaseException
) -> None:
    step = Step("a", raising(error), undo_local, timeout=timedelta(seconds=2))
    raises = of("RAISES", step)
    started = [sagas.start(raises) for _ in range(12)]
    plain = sagas.start(Plain)

    sagas.drain(concurrency=1)

    assert [outcome(saga) for saga in started] == [SagaOutcome.COMPENSATED] * 12
    assert outcome(plain) is SagaOutcome.COMPLETED
    assert sagas.rows(
        "SELECT DISTINCT error_class FROM saga_step_attempts WHERE error_class IS NOT NULL"
    ) == [(type(error).__name__,)]


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
def test_a_local_step_that_wants_to_end_its_process_has_failed(
    sagas: Sagas, error: BaseException
) -> None:
    saga = sagas.start(of("ENDS", Step("a", raising(error), local=True)))
    plain = sagas.start(Plain)

    sagas.drain()

    assert seen(saga).steps == {"a": StepState.FAILED}
    assert outcome(plain) is SagaOutcome.COMPLETED


@pytest.mark.parametrize("is_local", [True, False])
def test_a_verification_that_wants_to_end_its_process_is_no_answer(
    sagas: Sagas, is_local: bool
) -> None:
    saga = sagas.start(
        of(
            "ASKED",
            Step("a", local, undo_local, local=is_local),
            Step("b", raising(ValueError()), undo_local, verify=raising(SystemExit(3)),
                 verify_retry=SOON),
        )
    )  # fmt: skip

    sagas.finish(saga)

    assert outcome(saga) is SagaOutcome.COMPENSATED
    assert [step for name, step in seen(saga).events if name == "STEP_UNSURE"] == ["b", "b"]


@pytest.mark.parametrize("is_local", [True, False])
def test_errors_of_ones_own_that_say_nothing_of_what_they_inherit(
    sagas: Sagas, is_local: bool
) -> None:
    failed = sagas.start(
        of("FAILED", Step("a", raising(OutOfStock(7)), undo_local, local=is_local, retry=SOON))
    )
    waits = sagas.start(of("WAITS", Step("a", raising(Busy()), local=is_local)))
    plain = sagas.start(Plain)

    sagas.drain()

    assert outcome(plain) is SagaOutcome.COMPLETED
    assert sagas.value(
        "SELECT due_at - now() BETWEEN interval '0.1 s' AND interval '1 s' FROM sagas "
        "WHERE id = %s", [waits]
    )  # fmt: skip
    sagas.finish(failed)
    assert [name for name, step in seen(failed).events if step] == [
        *(() if is_local else ("STEP_STARTED",)),
        "STEP_RETRIED",
        *(() if is_local else ("STEP_STARTED",)),
        "STEP_FAILED",
        "COMPENSATION_STARTED",
    ]


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("seconds", [None, "soon", float("nan"), 1e300, 10**400])
def test_a_wait_that_is_no_time(sagas: Sagas, is_local: bool, seconds: Any) -> None:
    error = Busy()
    error.seconds = seconds
    saga = sagas.start(of("WAITS", Step("a", raising(error), undo_local, local=is_local)))
    plain = sagas.start(Plain)

    sagas.drain()

    assert (outcome(saga), outcome(plain)) == (SagaOutcome.COMPENSATED, SagaOutcome.COMPLETED)


def test_a_step_that_ends_every_runner_waits_for_a_person(sagas: Sagas) -> None:
    """As a fault would that nobody can catch: the lease is not given back, so it is counted."""
    saga = sagas.start(of("ENDS", Step("a", raising(KeyboardInterrupt()), local=True)))

    for _ in range(MOST_LOST + 1):
        with suppress(KeyboardInterrupt):
            sagas.drain()
        assert sagas.value("SELECT count(lease_owner) FROM sagas") <= 1
        sagas.expire(most_lost=MOST_LOST)

    assert "runners in a row were gone before a came back" in (seen(saga).incident or "")
    sagas.drain()
