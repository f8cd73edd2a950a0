"""Moves held sagas on: what needs no call, and calls of steps as they are begun and ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import TypeAlias

from sagas import settle
from sagas.calls import Half, ask, call, context_of
from sagas.definition import UNSURE, Answer, Done, Step, StepContext, Verdict
from sagas.held import Held
from sagas.leases import Clock
from sagas.plan import (
    Act,
    Ask,
    Doubt,
    End,
    GiveUp,
    Park,
    Rest,
    Stay,
    TurnBack,
    Undo,
    is_past_pivot,
    plan,
)
from sagas.records import Change, kept_input
from sagas.settle import At, Doubted, Outcome

Calling: TypeAlias = Act | Ask | Undo
#: A step, by its order, and which function of it is called.
Target: TypeAlias = tuple[int, Step, Half]


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """A call of a function of a step that is not local."""

    held: Held = field(repr=False)
    order: int
    step: Step
    half: Half
    context: StepContext
    #: When nobody waits for it any more, by the database's clock.
    until: datetime

    def call(self) -> Outcome | Verdict:
        if self.half is Half.VERIFY:
            return ask(self.step, self.context)
        return call(self.step, self.half, self.context)


def move_on(held: Held, clock: Clock, rng: Random) -> Calling | None:
    """Decide all that needs no call; returns what is to be called, and None while nothing is: it
    rests, has ended, or waits for calls that are under way."""
    while True:
        now = clock.now()
        move = plan(held.definition, held.saga, held.steps, now, held.in_flight)
        match move:
            case Act() | Ask() | Undo():
                return move
            case Stay():
                return None
            case Doubt():
                held.apply(settle.doubt(held.definition, held.steps, held.saga, move, At(now, rng)))
            case Park(order):
                held.apply(settle.park(held.steps[order], held.saga, move))
            case GiveUp(order):
                held.apply(settle.give_up(held.steps[order], held.saga))
            case TurnBack():
                held.apply(settle.turn_back(held.saga, move))
            case End():
                held.apply(settle.end(held.saga, held.steps, move))
                held.rests, held.rests_until = True, None
                return None
            case Rest(until):
                held.apply(settle.rest(held.saga, move))
                held.rests, held.rests_until = True, until
                return None


def targets(held: Held, move: Calling) -> list[Target]:
    """The calls of a move."""
    match move:
        case Act(orders):
            return [(order, held.definition.steps[order], Half.ACTION) for order in orders]
        case Ask(order):
            return [(order, held.definition.steps[order], Half.VERIFY)]
        case Undo(order):
            return [(order, held.definition.steps[order], Half.COMPENSATION)]


def is_local(calls: Sequence[Target]) -> bool:
    """Whether one of them belongs on Django's connection, which then is called first."""
    return any(step.local for _, step, _ in calls)


def begin(held: Held, target: Target, clock: Clock, using: str) -> Flight:
    """The intent, which has to be stored before the call."""
    order, step, half = target
    if half is not Half.VERIFY:
        held.apply(intent(held, target, clock.now()))
    context = context_of(held.saga, held.steps, held.steps[order], half, using)
    until = held.steps[order].timeout_at
    if half is Half.VERIFY or until is None:
        until = settle.timeout(step, None, clock.now())
    flight = Flight(held, order, step, half, context, until)
    held.in_flight[order] = flight
    return flight


def intent(held: Held, target: Target, now: datetime) -> Change:
    """That an action or a compensation is called now."""
    order, step, half = target
    row = held.steps[order]
    if half is Half.COMPENSATION:
        return settle.begin_undoing(step, row, held.saga, now)
    given = kept_input(held.saga, held.steps) if row.started_at is None else None
    return settle.begin_action(step, row, held.saga, now, given)


def end(flight: Flight, outcome: Outcome | Verdict, clock: Clock, rng: Random) -> bool:
    """Take in what came of a call; False if nobody waits for it any more."""
    held, order = flight.held, flight.order
    if held.in_flight.get(order) is not flight or held.lost:
        return False
    del held.in_flight[order]
    held.apply(_change(flight, outcome, clock, rng))
    return True


def _change(flight: Flight, outcome: Outcome | Verdict, clock: Clock, rng: Random) -> Change:
    held, step, row = flight.held, flight.step, flight.held.steps[flight.order]
    at = At(clock.now(), rng, is_past_pivot(held.definition, held.steps))
    if isinstance(outcome, Done | Answer) or flight.half is Half.VERIFY:
        verdict = outcome if isinstance(outcome, Done | Answer | Doubted) else UNSURE
        change = settle.end_verification(step, row, held.saga, verdict, at)
        # Else the action may be what kills its runners, and this comes back after each.
        return settle.came_back(change) if isinstance(verdict, Done) else change
    if flight.half is Half.ACTION:
        return settle.came_back(settle.end_action(step, row, held.saga, outcome, at))
    return settle.came_back(settle.end_undoing(step, row, held.saga, outcome, at))
