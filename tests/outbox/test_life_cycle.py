"""Events are published, delivered, refused, dealt with, pruned, in any order: the tables say what a
plain model says, and nothing is lost or out of order."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from outbox.conf import Destination, Retention
from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome, down, permanent, rejected
from outbox.relay import Relay
from outbox.services import dead_letters
from outbox.services.dead_letters import DeadLetterError, LetterFilter
from outbox.services.publish import Draft, DuplicateEvent, publish, publish_many
from outbox.services.retention import prune
from outbox.states import DeadLetterState
from outbox.testing import _OnDjangosConnection
from tests.outbox.conftest import TABLES, Inside, Outbox
from tests.outbox.model import ATTEMPTS, Fate, Model, Where
from tests.outbox.recorder import Recorder

AGGREGATES = [uuid.UUID(int=number) for number in (1, 2, 65)]
ACTIONS = ["requeue", "requeue", "resolve", "discard", "restore", "resend"]
KEYS = st.sampled_from([None, None, None, "red", "green"])
FATES = st.sampled_from([Fate.TAKE, Fate.TAKE, Fate.TAKE, Fate.REJECT, Fate.REFUSE, Fate.DOWN])
BY = {"by": "anna", "note": "enough"}
ALL_OLD = Retention(published_days=0, inbox_days=0, dead_letter_days=0)
OUTCOMES = {
    Fate.TAKE: DELIVERED,
    Fate.REJECT: rejected("busy", "later"),
    Fate.REFUSE: permanent("http_422", "unknown"),
    Fate.DOWN: down("away", "nobody answers"),
}

#: Whose quick sample is lively.
SEED = 1

FateOf = Callable[[int], Fate]


class LifeCycle(RuleBasedStateMachine):
    """Numbers are published in order; a resent copy has the number of its original."""

    def __init__(self) -> None:
        super().__init__()
        # Its relays work over Django's connection; retention needs what is committed.
        self.outbox = Inside()
        self.model = Model()
        self.number = 0
        #: Numbers that were delivered, in order.
        self.delivered: dict[uuid.UUID, list[int]] = {one: [] for one in AGGREGATES}
        #: Numbers that somebody let others pass.
        self.passed: set[int] = set()

    @initialize()
    def begin(self) -> None:
        self.outbox.execute(f"TRUNCATE {TABLES}")

    def teardown(self) -> None:
        if self.number:
            self.heal()

    @rule(aggregate=st.sampled_from(AGGREGATES), key=KEYS, is_undone=st.booleans())
    def publish_one(self, aggregate: uuid.UUID, key: str | None, is_undone: bool) -> None:
        self.number += 1
        known = self.model.known([key])
        with transaction.atomic():
            event, refusal = refused(
                lambda: publish(
                    "Counted", "JOB", aggregate, {"n": self.number}, idempotency_key=key
                )
            )
            transaction.set_rollback(is_undone)
        assert known == keys_of(refusal)
        if not known and not is_undone:
            self.model.publish(event, aggregate, self.number, key)

    @rule(events=st.lists(st.tuples(st.sampled_from(AGGREGATES), KEYS), min_size=1, max_size=5))
    def publish_several(self, events: Sequence[tuple[uuid.UUID, str | None]]) -> None:
        numbers = range(self.number + 1, self.number + 1 + len(events))
        self.number += len(events)
        drafts = [
            Draft(
                event_type="Counted",
                aggregate_type="JOB",
                aggregate_id=aggregate,
                payload={"n": number},
                idempotency_key=key,
            )
            for number, (aggregate, key) in zip(numbers, events, strict=True)
        ]
        known = self.model.known([key for _, key in events])
        with transaction.atomic():
            ids, refusal = refused(lambda: publish_many(drafts))
        assert known == keys_of(refusal)
        for event, number, (aggregate, key) in zip(ids or (), numbers, events, strict=not known):
            self.model.publish(event, aggregate, number, key)

    @precondition(lambda self: self.has(Where.WAITING))
    @rule(data=st.data())
    def deliver(self, data: Any) -> None:
        """A relay works; some numbers are refused, for now or for ever, or meet an outage."""
        waiting = {one.number for one in self.model.items.values() if one.where is Where.WAITING}
        drawn = data.draw(st.fixed_dictionaries(dict.fromkeys(sorted(waiting), FATES)), "fates")
        self.drain(lambda number: drawn.get(number, Fate.TAKE))

    @precondition(lambda self: self.has(Where.WAITING))
    @rule(probes=st.integers(1, 4))
    def outage(self, probes: int) -> None:
        """Nothing answers, and the relay tries single events until something does."""
        now, fates = [0.0], [Fate.DOWN]
        recorder = Recorder(lambda _event: OUTCOMES[fates[0]])
        relay = self.relay(recorder, clock=lambda: now[0])
        for _ in range(probes):
            self.run(relay)
            now[0] += 60.0
        assert recorder.delivered == []
        assert all(len(batch) == 1 for batch in recorder.batches[1:])
        fates[0] = Fate.TAKE
        self.run(relay)
        self.compare(recorder, lambda _number: Fate.TAKE)

    @precondition(lambda self: self.model.blocks)
    @rule()
    def retry_times_come(self) -> None:
        self.outbox.execute(
            "UPDATE outbox_keys SET retry_at = now() WHERE state = 'BACKOFF' "
            "AND retry_at IS NOT NULL"
        )
        self.model.retry_times_come()

    @precondition(lambda self: self.has(Where.DEAD))
    @rule()
    def somebody_deletes_dead_events(self) -> None:
        self.outbox.execute("DELETE FROM outbox_events WHERE status = 'FAILED'")
        self.model.lose_dead_rows()

    @precondition(lambda self: self.model.letters)
    @rule(actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3), data=st.data())
    def act(self, actions: list[str], data: Any) -> None:
        letters = sorted(self.model.letters, key=lambda one: self.model.items[one].place)
        for action in actions:
            self.take(data.draw(st.sampled_from(letters), "letter"), action)

    @precondition(lambda self: self.has(Where.DELIVERED))
    @rule()
    def retention(self) -> None:
        prune(ALL_OLD)
        self.model.prune()

    @invariant()
    def every_event_is_where_the_model_says(self) -> None:
        stored = dict(self.outbox.rows("SELECT id, status FROM outbox_events"))
        assert stored == {
            event: item.where.value
            for event, item in self.model.items.items()
            if item.where.has_row
        }

    @invariant()
    def every_dead_letter_stands_where_the_model_says(self) -> None:
        found = dead_letters.list_letters(LetterFilter(state=None), limit=1_000).letters
        assert {one.event_id: one.state for one in found} == self.model.letters
        for event, item in self.model.items.items():
            if item.where in {Where.DEAD, Where.GONE}:
                assert event in self.model.letters

    @invariant()
    def aggregates_wait_behind_what_the_model_says(self) -> None:
        blocks = self.outbox.rows("SELECT aggregate_id, event_id, state FROM outbox_keys")
        assert {row[0]: row[1:] for row in blocks} == {
            aggregate: (block.head, "PARKED" if block.is_parked else "BACKOFF")
            for aggregate, block in self.model.blocks.items()
        }
        held = self.outbox.rows("SELECT DISTINCT aggregate_id FROM outbox_events WHERE held")
        assert {row[0] for row in held} <= self.model.blocks.keys()

    @invariant()
    def each_aggregate_is_delivered_in_order(self) -> None:
        for numbers in self.delivered.values():
            kept = [number for number in numbers if number not in self.passed]
            assert kept == sorted(set(kept)), numbers

    def has(self, where: Where) -> bool:
        return any(item.where is where for item in self.model.items.values())

    def heal(self) -> None:
        """Everything is taken from now on, and every open dead letter is sent again."""
        opened = True
        while opened:
            self.retry_times_come()
            self.drain(lambda _number: Fate.TAKE)
            opened = False
            for event, state in list(self.model.letters.items()):
                if state is DeadLetterState.OPEN:
                    opened = True
                    is_taken = self.model.refusal(event, "requeue")
                    self.take(event, "resend" if is_taken else "requeue")
        self.every_event_is_where_the_model_says()
        self.each_aggregate_is_delivered_in_order()
        assert self.model.blocks == {}
        assert Where.WAITING not in {item.where for item in self.model.items.values()}
        delivered = [number for numbers in self.delivered.values() for number in numbers]
        assert len(delivered) == len(set(delivered))
        stored = {item.number for item in self.model.items.values()}
        assert stored - self.passed <= set(delivered) <= stored

    def take(self, event: uuid.UUID, action: str) -> None:
        """Do it with a dead letter, or be refused as the model says."""
        item, refusal = self.model.items[event], self.model.refusal(event, action)
        block = self.model.blocks.get(item.aggregate)
        copy, error = refused(lambda: self.do(event, action))
        assert type(error) is (refusal or type(None))
        if refusal is not None:
            return
        if action in {"resolve", "discard"} or (
            action == "resend" and (block is None or block.head != event)
        ):
            self.passed.add(item.number)
        self.model.act(event, action, copy)

    def do(self, event: uuid.UUID, action: str) -> uuid.UUID | None:
        if action == "resend":
            payload = {"n": self.model.items[event].number}
            return dead_letters.edit_and_resend(event, payload=payload, **BY)
        getattr(dead_letters, action)(event, **BY)
        return None

    def drain(self, fate: FateOf) -> None:
        recorder = Recorder(lambda event: self.judged(event, fate))
        self.run(self.relay(recorder, clock=lambda: 0.0))
        self.compare(recorder, fate)

    def judged(self, event: Event, fate: FateOf) -> Outcome:
        return OUTCOMES[fate(event.payload["n"])]

    def compare(self, recorder: Recorder, fate: FateOf) -> None:
        taken: dict[uuid.UUID, list[uuid.UUID]] = {}
        for event in recorder.delivered:
            taken.setdefault(event.aggregate_id, []).append(event.id)
            self.delivered[event.aggregate_id].append(event.payload["n"])
        assert taken == self.model.deliver(fate)

    def relay(self, recorder: Recorder, **options: Any) -> Relay:
        destination = Destination(name="default", publisher="unused", max_attempts=ATTEMPTS)
        return self.outbox.relay(recorder, destination=destination, rng=Random(0), **options)

    def run(self, relay: Relay) -> None:
        relay.drain(_OnDjangosConnection("default"))
        # No retry time comes by itself.
        self.outbox.execute(
            "UPDATE outbox_keys SET retry_at = now() + interval '100 years' WHERE retry_at > now()"
        )


def refused(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What a call returned, or why it was refused."""
    try:
        return call(), None
    except (DuplicateEvent, DeadLetterError) as error:
        return None, error


def keys_of(refusal: Exception | None) -> list[str]:
    return list(refusal.idempotency_keys) if isinstance(refusal, DuplicateEvent) else []


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("runs", "steps"), [(6, 35), pytest.param(150, 50, marks=pytest.mark.slow)]
)
def test_whatever_happens(outbox: Outbox, runs: int, steps: int) -> None:
    run_state_machine_as_test(
        seed(SEED)(LifeCycle),
        settings=settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=[Phase.generate, Phase.shrink],
        ),
    )
