"""What to do next, from the stored steps alone: tables, and a world that does anything."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagas import plan as planning
from sagas import settle, stepping
from sagas.calls import Half
from sagas.definition import NOT_DONE, UNSURE, Done, Retry, Saga, Step
from sagas.held import Held
from sagas.plan import Act, Ask, Doubt, End, GiveUp, Park, Rest, Stay, TurnBack, Undo, plan
from sagas.records import LARGEST_INPUT, SagaRow, StepRow, kept_input
from sagas.settle import Delayed, Did, Doubted, Refused
from sagas.states import (
    SAGA_TRANSITIONS,
    STEP_TRANSITIONS,
    SagaOutcome,
    SagaState,
    StepState,
)

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
SOON, BEFORE = NOW + timedelta(seconds=9), NOW - timedelta(seconds=9)


def nothing(_context: Any) -> None: ...


def verify(_context: Any) -> Any: ...


def definition(*steps: Step) -> type[Saga]:
    return type("Some", (Saga,), {"kind": "SOME", "steps": list(steps)})


#: a, then b and c together, then the pivot d, then e.
WHOLE = definition(
    Step("a", nothing, nothing, local=True),
    Step("b", nothing, nothing, group="g"),
    Step("c", nothing, nothing, group="g", verify=verify),
    Step("d", nothing, pivot=True, verify=verify),
    Step("e", nothing, retry=Retry(unknown=True)),
)
#: A word for each step: its state, and what is said of it after a colon.
STATES = {
    "-": StepState.PENDING,
    "run": StepState.IN_PROGRESS,
    "done": StepState.COMPLETED,
    "fail": StepState.FAILED,
    "unk": StepState.UNKNOWN,
    "skip": StepState.SKIPPED,
    "undo": StepState.COMPENSATING,
    "gone": StepState.COMPENSATED,
    "park": StepState.PARKED,
}


def rows(words: str) -> list[StepRow]:
    found = []
    for order, word in enumerate(words.split()):
        state, _, more = word.partition(":")
        row = StepRow(
            id=uuid.UUID(int=order), name="abcde"[order], order=order, state=STATES[state]
        )
        if row.state is not StepState.PENDING or more:
            row = replace(row, started_at=BEFORE)
        if row.state in {StepState.COMPLETED, StepState.SKIPPED}:
            row = replace(row, completed_at=BEFORE + timedelta(seconds=order))
        if "soon" in more:
            row = replace(row, due_at=SOON)
        if "due" in more:
            row = replace(row, due_at=BEFORE)
        if "over" in more:
            row = replace(row, deadline_at=BEFORE)
        if "waits" in more:
            row = replace(row, waits=1)
        if "asked" in more:
            row = replace(row, verifications=10)
        found.append(row)
    return found


def saga(state: SagaState = SagaState.IN_PROGRESS, **values: Any) -> SagaRow:
    return SagaRow(id=uuid.UUID(int=99), kind="SOME", version=1, state=state, input={}, **values)


FORWARD = [
    ("- - - - -", {}, Act((0,))),
    ("done - - - -", {}, Act((1, 2))),
    ("done done - - -", {}, Act((2,))),
    ("done skip done - -", {}, Act((3,))),
    ("done done done done -", {}, Act((4,))),
    ("done done done done done", {}, End(SagaOutcome.COMPLETED)),
    # Not before its time; and then.
    ("-:soon - - - -", {}, Rest(SOON)),
    ("-:due - - - -", {}, Act((0,))),
    ("done -:soon - - -", {}, Act((2,))),
    ("done -:soon done - -", {}, Rest(SOON)),
    # A crash: nobody knows.
    ("done run done - -", {}, Doubt((1,), planning.CRASHED)),
    # Failed for sure.
    ("done fail done - -", {}, TurnBack("b failed: it does not say why", "b")),
    ("done fail unk - -", {}, TurnBack("b failed: it does not say why", "b")),
    ("done done done fail -", {}, TurnBack("d failed: it does not say why", "d")),
    # Nobody knows of b, which cannot be asked; c can.
    ("done unk done - -", {}, TurnBack("nobody knows whether b was done", "b")),
    ("done done unk - -", {}, Ask(2)),
    ("done done unk:soon - -", {}, Rest(SOON)),
    ("done done unk:asked - -", {}, TurnBack("nobody knows whether c was done", "c")),
    ("done done unk:over - -", {}, TurnBack("nobody knows whether c was done", "c")),
    # One that has waited is called again.
    ("done unk:waits done - -", {}, Act((1,))),
    ("done done unk:waits - -", {}, Ask(2)),
    ("done done unk:waits,asked - -", {}, Act((2,))),
    # Its time is over before it is tried again, or while it waits.
    ("done -:over done - -", {}, GiveUp(1)),
    ("done -:over,waits done - -", {}, Doubt((1,), "The time for it was over while it waited.")),
    # The pivot: it may have been done, so there is no way back before that is known.
    ("done done done unk -", {}, Ask(3)),
    (
        "done done done unk:asked -",
        {},
        Rest(None, "Nobody knows whether d was done: mark it as done or not done."),
    ),
    ("done done done unk -", {"cancel_requested_at": NOW}, Ask(3)),
    ("done done done unk:soon -", {"deadline_at": BEFORE}, Rest(SOON)),
    # Past the pivot only forward.
    ("done done done done unk", {}, Act((4,))),
    ("done done done done -", {"cancel_requested_at": NOW}, Act((4,))),
    ("done done done done -", {"deadline_at": BEFORE}, Act((4,))),
    ("done done done done -:soon", {"deadline_at": SOON}, Rest(SOON)),
    (
        "done done done done fail",
        {},
        Rest(None, "e has failed for good, and the saga cannot go back."),
    ),
    (
        "done done done done -:over",
        {},
        Rest(None, "The time for e is over, and the saga cannot go back."),
    ),
    # Asked for.
    ("done - - - -", {"cancel_requested_at": NOW}, TurnBack(planning.CANCELLED)),
    ("done - - - -", {"deadline_at": BEFORE}, TurnBack(planning.DEADLINE)),
    ("done -:soon -:soon - -", {"deadline_at": SOON}, Rest(SOON)),
    ("done - - - -", {"pause_requested_at": NOW}, Rest(None)),
    ("done fail - - -", {"pause_requested_at": NOW}, Rest(None)),
]


BACK = "5 runners in a row were gone before it was undone: that may be what kills them."


def gone(names: str) -> Rest:
    return Rest(
        None,
        f"5 runners in a row were gone before {names} came back: it may be what kills them. Find "
        "out why, then retry or skip it, or compensate.",
    )


LOST = [
    # What may kill runners is not called any more, and a person is asked.
    ("done - - - -", 4, {}, Act((1, 2))),
    ("- - - - -", 5, {}, gone("a")),
    ("done - - - -", 5, {}, gone("b or c")),
    ("done done unk - -", 5, {}, gone("c")),
    ("done done done done -", 5, {}, gone("e")),
    # What needs no call goes on; so do those who ask for something, and time.
    ("done run - - -", 5, {}, Doubt((1,), planning.CRASHED)),
    ("done - - - -", 5, {"cancel_requested_at": NOW}, TurnBack(planning.CANCELLED)),
    ("done - - - -", 5, {"deadline_at": BEFORE}, TurnBack(planning.DEADLINE)),
    ("done - - - -", 5, {"deadline_at": SOON}, replace(gone("b or c"), until=SOON)),
    ("done done done done done", 5, {}, End(SagaOutcome.COMPLETED)),
]


@pytest.mark.parametrize(("words", "lost", "values", "move"), LOST)
def test_forward_when_runners_were_gone(
    words: str, lost: int, values: dict[str, Any], move: Any
) -> None:
    assert plan(WHOLE, saga(lost=lost, **values), rows(words), NOW) == move


@pytest.mark.parametrize(
    ("words", "lost", "move"),
    [
        ("done done gone fail -", 4, Undo(1)),
        ("done done gone fail -", 5, Park(1, BACK)),
        ("done undo gone fail -", 5, Park(1, BACK)),
        ("done undo:soon gone fail -", 5, Rest(SOON)),
        ("done fail unk - -", 5, Park(2, BACK)),
        ("gone park gone fail -", 5, End(SagaOutcome.COMPENSATION_FAILED)),
    ],
)
def test_backward_when_runners_were_gone(words: str, lost: int, move: Any) -> None:
    assert plan(WHOLE, saga(SagaState.COMPENSATING, lost=lost), rows(words), NOW) == move


@pytest.mark.parametrize(("words", "values", "move"), FORWARD)
def test_forward(words: str, values: dict[str, Any], move: Any) -> None:
    assert plan(WHOLE, saga(**values), rows(words), NOW) == move


IN_FLIGHT = [
    ("done run - - -", {1}, {}, Act((2,))),
    ("done run run - -", {1, 2}, {}, Stay()),
    ("done run fail - -", {1}, {}, Stay()),
    ("done run done - -", {1}, {"cancel_requested_at": NOW}, Stay()),
    ("done run done - -", {1}, {"deadline_at": BEFORE}, Stay()),
    ("done run done - -", {1}, {"pause_requested_at": NOW}, Stay()),
    ("done run run - -", {1}, {}, Doubt((2,), planning.CRASHED)),
]


@pytest.mark.parametrize(("words", "flying", "values", "move"), IN_FLIGHT)
def test_while_calls_are_under_way(
    words: str, flying: set[int], values: dict[str, Any], move: Any
) -> None:
    assert plan(WHOLE, saga(**values), rows(words), NOW, flying) == move


BACKWARD = [
    # The newest first, by when it was done.
    ("done done done fail -", {}, Undo(2)),
    ("done done gone fail -", {}, Undo(1)),
    ("done gone gone fail -", {}, Undo(0)),
    ("gone gone gone fail -", {}, End(SagaOutcome.COMPENSATED)),
    ("gone gone gone fail -", {"cancel_requested_at": NOW}, End(SagaOutcome.CANCELLED)),
    ("skip fail - - -", {}, Undo(0)),
    # What is being undone goes first, when it is time.
    ("done undo gone fail -", {}, Undo(1)),
    ("done undo:soon gone fail -", {}, Rest(SOON)),
    # What cannot be undone does not keep the others.
    ("done park gone fail -", {}, Undo(0)),
    ("gone park gone fail -", {}, End(SagaOutcome.COMPENSATION_FAILED)),
    ("gone park gone fail -", {"cancel_requested_at": NOW}, End(SagaOutcome.COMPENSATION_FAILED)),
    # What nobody knows is asked, and then undone as if it was done.
    ("done fail unk - -", {}, Ask(2)),
    ("done fail unk:soon - -", {}, Rest(SOON)),
    ("done fail unk:asked - -", {}, Undo(2)),
    ("done unk done - -", {}, Undo(1)),
    ("done run done - -", {}, Doubt((1,), planning.CRASHED)),
    ("done -:waits done - -", {}, Doubt((1,), planning.TURNED_BACK)),
    # Never forward again, whatever was asked for.
    ("- - - - -", {}, End(SagaOutcome.COMPENSATED)),
    ("done - - - -", {"deadline_at": BEFORE}, Undo(0)),
    ("done - - - -", {"pause_requested_at": NOW}, Rest(None)),
]


@pytest.mark.parametrize(("words", "values", "move"), BACKWARD)
def test_backward(words: str, values: dict[str, Any], move: Any) -> None:
    assert plan(WHOLE, saga(SagaState.COMPENSATING, **values), rows(words), NOW) == move


def test_parallel_steps_are_undone_in_the_reverse_order_of_their_ends() -> None:
    steps = rows("done done done fail -")
    steps[1] = replace(steps[1], completed_at=NOW)

    assert plan(WHOLE, saga(SagaState.COMPENSATING), steps, NOW) == Undo(1)


def test_what_has_no_compensation_stays_done() -> None:
    bare = definition(Step("a", nothing), Step("b", nothing, nothing), Step("c", nothing))

    assert plan(bare, saga(SagaState.COMPENSATING), rows("done done fail"), NOW) == Undo(1)
    assert plan(bare, saga(SagaState.COMPENSATING), rows("done gone fail"), NOW) == End(
        SagaOutcome.COMPENSATED
    )


def test_a_cancellation_is_in_time_until_the_end_where_there_is_no_pivot() -> None:
    some = definition(Step("a", nothing, nothing), Step("b", nothing))
    cancelled = saga(cancel_requested_at=NOW)

    assert plan(some, cancelled, rows("done done"), NOW) == TurnBack(planning.CANCELLED)
    assert plan(some, saga(deadline_at=BEFORE), rows("done done"), NOW) == End(
        SagaOutcome.COMPLETED
    )
    done = rows("done done done done done")
    assert plan(WHOLE, cancelled, done, NOW) == End(SagaOutcome.COMPLETED)


def test_stages_are_steps_in_a_row_with_one_group() -> None:
    some = definition(
        Step("a", nothing, group="x"),
        Step("b", nothing, group="x"),
        Step("c", nothing),
        Step("d", nothing),
        Step("e", nothing, group="y"),
    )

    assert planning.stages(some) == ((0, 1), (2,), (3,), (4,))


# --- against a world that does anything ---------------------------------------------------------


class Clock:
    """Stands still but for being told."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at


class TestKeptInput:
    """What is stored of what a step got."""

    def test_it_is_the_input_and_what_others_returned(self) -> None:
        steps = [replace(row, output=row.name * 2) for row in rows("done skip - - -")]

        assert kept_input(saga(), steps) == {"input": {}, "outputs": {"a": "aa", "b": "bb"}}

    def test_of_much_the_newest_outputs_are_kept(self) -> None:
        steps = rows("done done done done -")
        outputs = ["old", "x" * 10_000, "y" * 7_000, "new"]
        steps = [
            replace(row, output=output) for row, output in zip(steps, [*outputs, None], strict=True)
        ]

        assert kept_input(saga(), steps) == {
            "input": {},
            "outputs": {"c": "y" * 7_000, "d": "new"},
            "left_out": ["b", "a"],
        }

    def test_an_input_that_is_too_large_is_with_the_saga_alone(self) -> None:
        large = replace(saga(), input={"x": "x" * LARGEST_INPUT})

        assert kept_input(large, rows("done - - - -")) == {"outputs": {}, "left_out": ["a"]}


class Watched(Held):
    """Refuses what no state allows."""

    __slots__ = ("history",)

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self.history: list[tuple[str, str]] = []

    def apply(self, change: Any) -> None:
        for step in change.steps:
            before = self.steps[step.order].state
            if step.state is not before:
                assert step.state in STEP_TRANSITIONS[before], (before, step.state)
                self.history.append((step.name, step.state.value))
        if change.saga.state is not self.saga.state:
            assert change.saga.state in SAGA_TRANSITIONS[self.saga.state]
        super().apply(change)


@st.composite
def definitions(draw: Any) -> type[Saga]:
    number = draw(st.integers(1, 6))
    pivot = draw(st.none() | st.integers(0, number - 1))
    steps = []
    for order in range(number):
        past = pivot is not None and order >= pivot
        local = draw(st.booleans())
        steps.append(
            Step(
                f"s{order}",
                nothing,
                None if past or not draw(st.booleans()) else nothing,
                local=local,
                verify=None if local or not draw(st.booleans()) else verify,
                retry=Retry(attempts=draw(st.integers(1, 3)), unknown=draw(st.booleans())),
                compensation_retry=Retry(attempts=draw(st.integers(1, 3))),
                verify_retry=Retry(attempts=draw(st.integers(1, 2))),
                pivot=order == pivot,
                group=None if order == pivot or not draw(st.booleans()) else f"g{past}",
                total_timeout=draw(st.none() | st.just(timedelta(seconds=90))),
            )
        )
    deadline = draw(st.none() | st.just(timedelta(seconds=60)))
    return type("Drawn", (Saga,), {"kind": "DRAWN", "steps": steps, "deadline": deadline})


ACTIONS = st.sampled_from(
    [Did("out"), Did("out"), Did("out"), Refused("no"), Refused("no", retry=False), Doubted("?"),
     Delayed(3.0), "crash"]
)  # fmt: skip
VERDICTS = st.sampled_from([Done("out"), NOT_DONE, UNSURE, Doubted("?"), "crash"])
UNDOINGS = st.sampled_from(
    [Did(None), Did(None), Refused("no"), Doubted("?"), Refused("no", retry=False), "crash"]
)


@settings(max_examples=300, deadline=None)
@given(definitions(), st.data())
def test_whatever_happens_it_ends_in_an_end_that_tells_the_truth(
    some: type[Saga], data: st.DataObject
) -> None:
    clock: Any = Clock()
    rng = Random(0)
    steps = tuple(
        StepRow(id=uuid.UUID(int=order), name=step.name, order=order)
        for order, step in enumerate(some.steps)
    )
    deadline = None if some.deadline is None else NOW + some.deadline
    held = Watched(some, saga(deadline_at=deadline), steps, valid_until=0.0)
    acted_past_back = False
    cancel_at = data.draw(st.none() | st.integers(0, 8))
    for look in range(400):
        if look == cancel_at and not planning.is_past_pivot(some, held.steps):
            held.saga = replace(held.saga, cancel_requested_at=clock.now())
        # A person who has to decide says that unknown steps were not done, and has others retried.
        move = stepping.move_on(held, clock, rng)
        if held.rests:
            if held.saga.outcome is not None:
                break
            held.rests = False
            if held.rests_until is not None:
                clock.at = max(clock.at, held.rests_until)
            else:
                assert held.saga.incident is not None
                decide(held)
            continue
        assert move is not None
        calls = stepping.targets(held, move)
        flights = [stepping.begin(held, target, clock, "default") for target in calls]
        for flight in flights:
            acted_past_back |= (
                flight.half is Half.ACTION and held.saga.state is SagaState.COMPENSATING
            )
            outcome = data.draw(
                {Half.ACTION: ACTIONS, Half.VERIFY: VERDICTS, Half.COMPENSATION: UNDOINGS}[
                    flight.half
                ]
            )
            if look > 120:
                outcome = Done("out") if flight.half is Half.VERIFY else Did("out")
            if outcome == "crash":
                held.in_flight.clear()
                held.saga = replace(held.saga, lost=held.saga.lost + 1)
                break
            assert stepping.end(flight, outcome, clock, rng)
    assert held.saga.outcome is not None, "it never ends"
    assert not acted_past_back
    judge(some, held)


def decide(held: Held) -> None:
    """What a person does about an incident of a saga that goes forward."""
    if held.saga.lost >= planning.MOST_LOST:
        held.saga = replace(held.saga, incident=None, lost=0)
        return
    for row in held.steps:
        if row.state in {StepState.UNKNOWN, StepState.FAILED} or (
            row.state is StepState.PENDING and row.deadline_at is not None
        ):
            held.apply(
                settle.Change(
                    replace(held.saga, incident=None),
                    (
                        replace(
                            row,
                            state=StepState.SKIPPED,
                            completed_at=NOW + timedelta(days=1),
                            due_at=None,
                        ),
                    ),
                )
            )
            return
    raise AssertionError(held.steps)


def judge(some: type[Saga], held: Watched) -> None:
    states = [row.state for row in held.steps]
    done = {StepState.COMPLETED, StepState.SKIPPED}
    outcome = held.saga.outcome
    if outcome is SagaOutcome.COMPLETED:
        assert set(states) <= done
        return
    # It turned back, so the pivot was not passed, and what was done is undone or told.
    assert not planning.is_past_pivot(some, held.steps)
    parked = False
    for step, row in zip(some.steps, held.steps, strict=True):
        assert row.state not in {StepState.IN_PROGRESS, StepState.COMPENSATING}
        parked |= row.state is StepState.PARKED
        if step.compensation is not None:
            assert row.state not in done | {StepState.UNKNOWN}
        if row.state is StepState.PENDING:
            assert row.waits == 0
    assert parked == (outcome is SagaOutcome.COMPENSATION_FAILED)
    # Undone in the reverse order of their ends; what nobody knew of has none, and goes first.
    ended = [name for name, state in held.history if state == "COMPLETED"]
    undone = [name for name, state in held.history if state == "COMPENSATED"]
    known = [name for name in undone if name in ended]
    assert known == sorted(known, key=ended.index, reverse=True)
