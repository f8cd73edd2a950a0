"""What is written down when a call came back: budgets, and what spends them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from sagas import settle
from sagas.definition import NOT_DONE, UNSURE, Retry, Step
from sagas.records import SagaRow, StepRow, changed
from sagas.settle import At, Delayed, Did, Doubted, Outcome, Refused
from sagas.states import SagaState, StepState

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
AT = At(NOW, Random(0))
SAGA = SagaRow(id=uuid.UUID(int=9), kind="K", version=1, state=SagaState.IN_PROGRESS, input={})


def nothing(_context: Any) -> None: ...


STEP = Step(
    "a",
    nothing,
    nothing,
    retry=Retry(attempts=3, base=10, cap=20),
    compensation_retry=Retry(attempts=2),
    total_timeout=timedelta(minutes=1),
)
NEW = StepRow(id=uuid.UUID(int=1), name="a", order=0)


def tried(*outcomes: Outcome, past: bool = False) -> StepRow:
    """The step after these calls of its action."""
    row = NEW
    for outcome in outcomes:
        (row,) = settle.begin_action(STEP, row, SAGA, NOW).steps
        (row,) = settle.end_action(STEP, row, SAGA, outcome, replace(AT, past=past)).steps
    return row


def undone(*outcomes: Outcome) -> StepRow:
    row = tried(Did(None))
    for outcome in outcomes:
        (row,) = settle.begin_undoing(STEP, row, SAGA, NOW).steps
        (row,) = settle.end_undoing(STEP, row, SAGA, outcome, AT).steps
    return row


NO, NEVER, LATER, LOST = Refused("no"), Refused("no", retry=False), Delayed(5), Doubted("?")


@pytest.mark.parametrize(
    ("outcomes", "past", "state", "attempt"),
    [
        ([NO], False, StepState.PENDING, 1),
        ([NO, NO], False, StepState.PENDING, 2),
        ([NO, NO, NO], False, StepState.FAILED, 3),
        ([NO, NO, NO, NO], True, StepState.PENDING, 4),
        ([NEVER], False, StepState.FAILED, 1),
        ([NEVER], True, StepState.FAILED, 1),
        ([LATER, LATER, LATER], False, StepState.PENDING, 1),
        ([LATER, LATER, NO, LATER], False, StepState.PENDING, 2),
        ([LATER, Did(7)], False, StepState.COMPLETED, 1),
        ([LOST], False, StepState.UNKNOWN, 1),
    ],
)
def test_attempts_of_an_action(
    outcomes: list[Outcome], past: bool, state: StepState, attempt: int
) -> None:
    row = tried(*outcomes, past=past)

    assert (row.state, row.attempt) == (state, attempt)
    assert row.started_at == NOW
    assert row.deadline_at == NOW + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("outcomes", "state", "number"),
    [
        ([NO], StepState.COMPENSATING, 1),
        ([NO, LOST], StepState.PARKED, 2),
        ([NEVER], StepState.PARKED, 1),
        ([LATER, LATER, LATER, Did(None)], StepState.COMPENSATED, 1),
        ([LATER, NO, LATER], StepState.COMPENSATING, 2),
        ([NO, Did("x")], StepState.COMPENSATED, 2),
    ],
)
def test_attempts_of_a_compensation(outcomes: list[Outcome], state: StepState, number: int) -> None:
    row = undone(*outcomes)

    assert (row.state, row.compensation_attempts) == (state, number)


def test_pauses_grow_and_end_at_the_cap() -> None:
    (first, *_, last) = [
        tried(*[NO] * number, past=True).due_at or NOW for number in (1, 2, 3, 4, 5, 6)
    ]

    assert timedelta(seconds=1) <= first - NOW <= timedelta(seconds=10)
    assert timedelta(seconds=2) <= last - NOW <= timedelta(seconds=20)


def test_a_call_ends_with_its_step_at_the_latest() -> None:
    late = replace(NEW, started_at=NOW, deadline_at=NOW + timedelta(seconds=5))
    (row,) = settle.begin_action(STEP, late, SAGA, NOW).steps

    assert row.timeout_at == NOW + timedelta(seconds=5)
    (fresh,) = settle.begin_action(STEP, NEW, SAGA, NOW).steps
    assert fresh.timeout_at == NOW + timedelta(seconds=30)


def test_what_was_verified_as_not_done_is_tried_again_while_the_saga_goes_forward() -> None:
    unknown = tried(LOST)
    back = replace(SAGA, state=SagaState.COMPENSATING)

    (again,) = settle.end_verification(STEP, unknown, SAGA, NOT_DONE, AT).steps
    (failed,) = settle.end_verification(STEP, unknown, back, NOT_DONE, AT).steps
    (unsure,) = settle.end_verification(STEP, unknown, SAGA, UNSURE, AT).steps

    assert again.state is StepState.PENDING
    assert failed.state is StepState.FAILED
    assert (unsure.state, unsure.verifications) == (StepState.UNKNOWN, 1)
    assert unsure.due_at is not None


def test_a_changed_row_has_the_rest_of_the_one_before_and_no_field_that_is_not_there() -> None:
    row = replace(NEW, output=[1], input={"input": {}}, started_at=NOW)

    assert changed(row, waits=2, output=None) == replace(row, waits=2, output=None)
    assert changed(row, waits=2).input == {"input": {}}
    assert row.waits == 0
    with pytest.raises(AttributeError):
        changed(row, wait=2)
