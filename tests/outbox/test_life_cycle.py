"""Events die, and people act, in any order: what must hold whatever they do."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from outbox.outcomes import DELIVERED, Outcome, permanent, rejected
from outbox.services import dead_letters
from outbox.services.dead_letters import DeadLetterError, Letter, LetterFilter
from outbox.states import DEAD_LETTER_TRANSITIONS, DeadLetterState
from tests.outbox.conftest import Inside, Outbox

AGGREGATES = [uuid.UUID(int=number) for number in (1, 2, 65)]
BY = {"by": "anna", "note": "enough"}
ENDS = {
    "requeue": DeadLetterState.REQUEUED,
    "resolve": DeadLetterState.RESOLVED,
    "discard": DeadLetterState.DISCARDED,
    "restore": DeadLetterState.OPEN,
    "resend": DeadLetterState.RESENT,
}


class LifeCycle(RuleBasedStateMachine):
    """Numbers are published in order, each once; a resent copy has the number of its original."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Inside()
        self.published = 0
        #: What was delivered, in order, by aggregate.
        self.delivered: dict[uuid.UUID, list[int]] = {one: [] for one in AGGREGATES}
        #: Numbers that somebody let others pass.
        self.passed: set[int] = set()
        self.atomic = transaction.atomic()

    @initialize()
    def begin(self) -> None:
        self.atomic.__enter__()

    def teardown(self) -> None:
        if self.published:
            self.heal()
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    @rule(aggregate=st.sampled_from(AGGREGATES), number=st.integers(1, 4))
    def publish(self, aggregate: uuid.UUID, number: int) -> None:
        first = self.published + 1
        self.published += number
        self.outbox.publish(aggregate, *range(first, self.published + 1))

    @precondition(lambda self: self.published)
    @rule(data=st.data())
    def deliver(self, data: Any) -> None:
        """A relay works; some numbers are refused, for now or for ever."""
        numbers = st.sets(st.integers(1, self.published), max_size=4)
        dead, busy = data.draw(numbers, "dead"), data.draw(numbers, "busy")

        def judge(event: Any) -> Outcome:
            number = event.payload["n"]
            if number in dead:
                return permanent("http_422", "unknown")
            return rejected("busy", "later") if number in busy else DELIVERED

        self.drain(judge)

    @rule()
    def retry_times_come(self) -> None:
        self.outbox.execute(
            "UPDATE outbox_keys SET retry_at = now() WHERE state = 'BACKOFF' "
            "AND retry_at IS NOT NULL"
        )

    @rule()
    def somebody_deletes_dead_events(self) -> None:
        self.outbox.execute("DELETE FROM outbox_events WHERE status = 'FAILED'")

    @rule(action=st.sampled_from(sorted(ENDS)), data=st.data())
    def act(self, action: str, data: Any) -> None:
        letters = self.letters()
        if not letters:
            return
        letter = letters[data.draw(st.integers(0, len(letters) - 1), "letter")]
        # What was requeued is opened again by a death alone.
        allowed = (
            ENDS[action] in DEAD_LETTER_TRANSITIONS[letter.state]
            and letter.state is not DeadLetterState.REQUEUED
        )
        try:
            self.take(letter, action)
        except DeadLetterError:
            assert not allowed
        else:
            assert allowed
            if action in {"resolve", "discard"} or (action == "resend" and not letter.holds):
                self.passed.add(dead_letters.get(letter.id).payload["n"])

    @invariant()
    def each_aggregate_is_delivered_in_order(self) -> None:
        for numbers in self.delivered.values():
            kept = [number for number in numbers if number not in self.passed]
            assert kept == sorted(set(kept)), numbers

    @invariant()
    def nobody_waits_behind_what_is_closed(self) -> None:
        parked = self.outbox.rows(
            "SELECT d.resolved_at FROM outbox_keys AS k LEFT JOIN outbox_dlq AS d "
            "ON d.original_event_id = k.event_id WHERE k.state = 'PARKED'"
        )
        assert all(row == (None,) for row in parked)
        held = self.outbox.value(
            "SELECT count(*) FROM outbox_events AS e WHERE held AND NOT EXISTS ("
            "SELECT FROM outbox_keys AS k WHERE k.aggregate_id = e.aggregate_id)"
        )
        assert held == 0

    def heal(self) -> None:
        """Everything is taken from now on, and every open dead letter is sent again."""
        for _ in range(self.published + 1):
            self.retry_times_come()
            self.drain(lambda event: DELIVERED)
            opened = [one for one in self.letters() if one.state is DeadLetterState.OPEN]
            for letter in opened:
                self.take(letter, "requeue")
        self.each_aggregate_is_delivered_in_order()
        assert self.outbox.value("SELECT count(*) FROM outbox_keys") == 0
        assert self.outbox.value("SELECT count(*) FROM outbox_events WHERE status = 'PENDING'") == 0
        closed = {
            dead_letters.get(one.id).payload["n"]
            for one in self.letters()
            if one.state in {DeadLetterState.RESOLVED, DeadLetterState.DISCARDED}
        }
        delivered = [number for numbers in self.delivered.values() for number in numbers]
        assert len(delivered) == len(set(delivered))
        assert {*delivered, *closed} == set(range(1, self.published + 1))

    def take(self, letter: Letter, action: str) -> None:
        if action == "resend":
            payload = dead_letters.get(letter.id).payload
            dead_letters.edit_and_resend(letter.id, payload=payload, **BY)
        else:
            getattr(dead_letters, action)(letter.id, **BY)

    def drain(self, judge: Any) -> None:
        for event in self.outbox.drain(judge).delivered:
            self.delivered[event.aggregate_id].append(event.payload["n"])

    def letters(self) -> list[Letter]:
        found = dead_letters.list_letters(LetterFilter(state=None), limit=1_000)
        return sorted(found.letters, key=lambda letter: (letter.seq or 0, letter.id))


def test_whatever_people_do(inside: Outbox) -> None:
    run_state_machine_as_test(
        LifeCycle,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
