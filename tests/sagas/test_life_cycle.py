"""Sagas are started, driven, cut short, paused and decided upon, in any order: they stand where a
plain model says, what was done is undone or stands as it says, and in the end every one has ended.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from itertools import product
from typing import Any

import pytest
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

from sagas import registry
from sagas.definition import (
    NOT_DONE,
    UNSURE,
    Done,
    Retry,
    Saga,
    Step,
    StepContext,
    StepFailed,
    Unknown,
    Verdict,
)
from sagas.exceptions import ActionRefused
from sagas.services import actions
from sagas.services.start import start
from sagas.testing import _crash, run_sagas
from tests.sagas.conftest import TABLES, Sagas
from tests.sagas.model import STEPS, UNDONE, Fate, Model, Weather
from tests.sagas.world import INSERT

WHY = {"reason": "as agreed", "actor": "ada"}
OF_SAGAS = ("pause", "resume", "cancel", "compensate")
OF_STEPS = (
    *("skip_step", "retry_step", "mark_done", "mark_not_done"),
    *("retry_compensation", "mark_handled"),
)
#: Outcomes with which nothing is left to do.
WELL = ("COMPLETED", "COMPENSATED", "CANCELLED")
#: More than a saga has points at which its runner may die.
MOST_POINTS = 30
ONCE, TWICE = Retry(attempts=1), Retry(attempts=2)

POSSIBLE = st.sampled_from([True, True, True, False])

#: Whose quick sample is lively.
SEED = 3


class World:
    """The other system, and how it goes there."""

    def __init__(self) -> None:
        self.weather = Weather()
        #: By saga: the steps that were done there, and are not undone.
        self.standing: defaultdict[uuid.UUID, set[str]] = defaultdict(set)
        self.keys: defaultdict[tuple[uuid.UUID, str], set[str]] = defaultdict(set)
        #: Calls of compensations, by saga, since somebody has looked.
        self.undone: defaultdict[uuid.UUID, list[str]] = defaultdict(list)

    def act(self, context: StepContext) -> str:
        self.keys[context.saga_id, context.step].add(context.key)
        fate = self.weather.actions[context.step]
        if fate in {Fate.FINE, Fate.LOST_AFTER}:
            self.standing[context.saga_id].add(context.step)
        self.end(fate)
        return context.step

    def end(self, fate: Fate) -> None:
        if fate is Fate.REFUSED:
            raise StepFailed("It is not wanted.", retry=False)
        if fate is not Fate.FINE:
            raise Unknown("The line went dead.")

    def find(self, context: StepContext) -> Verdict:
        if self.weather.is_mute:
            return UNSURE
        done = context.step in self.standing[context.saga_id]
        return Done(context.step) if done else NOT_DONE

    def undo(self, context: StepContext) -> None:
        self.keys[context.saga_id, context.step].add(context.key)
        self.undone[context.saga_id].append(context.step)
        if context.step in self.weather.broken:
            raise StepFailed("It cannot be undone.", retry=False)
        self.standing[context.saga_id].discard(context.step)


world = World()


def act(context: StepContext) -> str:
    return world.act(context)


def find(context: StepContext) -> Verdict:
    return world.find(context)


def undo(context: StepContext) -> None:
    world.undo(context)


def reserve(context: StepContext) -> None:
    Sagas().execute(INSERT, [context.saga_id, context.step, "done", context.key])
    world.end(world.weather.actions[context.step])


def release(context: StepContext) -> None:
    world.undone[context.saga_id].append(context.step)
    if context.step in world.weather.broken:
        raise StepFailed("It cannot be undone.", retry=False)
    Sagas().execute(INSERT, [context.saga_id, context.step, "undone", context.key])


class Lived(Saga):
    kind = "LIVED"
    steps = (
        Step("reserve", reserve, release, local=True, compensation_retry=ONCE),
        Step("charge", act, undo, verify=find, verify_retry=TWICE, compensation_retry=ONCE),
        Step("pack", act, undo, compensation_retry=ONCE),
        Step("ship", act, verify=find, verify_retry=TWICE, pivot=True),
        Step("thank", act, verify=find, verify_retry=TWICE),
    )


class LifeCycle(RuleBasedStateMachine):
    """The runner is called by the test, which knows when it dies."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = Sagas()
        self.sagas: dict[uuid.UUID, Model] = {}

    @initialize()
    def begin(self) -> None:
        self.tables.execute(f"TRUNCATE {TABLES}, effects")
        world.__init__()  # type: ignore[misc]

    def teardown(self) -> None:
        if self.sagas:
            self.heal()

    @rule(key=st.sampled_from([None, None, "red", "green"]))
    def begin_one(self, key: str | None) -> None:
        self.start(key)

    def start(self, key: str | None) -> None:
        saga = start("LIVED", {}, key=key)
        live = [one for one, model in self.sagas.items() if model.key == key and not model.outcome]
        if key is not None and live:
            assert [saga] == live
        else:
            assert saga not in self.sagas
            self.sagas[saga] = Model(key)

    @rule(step=st.sampled_from(STEPS), fate=st.sampled_from([Fate.FINE, *Fate]))
    def weather(self, step: str, fate: Fate) -> None:
        # Verified as not done, and past the pivot, it is called again, for ever.
        is_endless = step == "thank" and fate is Fate.LOST_BEFORE
        world.weather.actions[step] = Fate.FINE if is_endless else fate

    @rule(broken=st.sets(st.sampled_from(UNDONE), max_size=2), is_mute=st.booleans())
    def other_functions(self, broken: set[str], is_mute: bool) -> None:
        """Compensations and verifications."""
        world.weather.broken, world.weather.is_mute = broken, is_mute

    @precondition(lambda self: self.sagas)
    @rule()
    def run(self) -> None:
        """Everything that is due, and what is due after that."""
        world.undone.clear()
        run_sagas(later=True)
        for saga, model in self.sagas.items():
            model.run(world.weather)
            called = world.undone[saga]
            assert called == sorted(called, key=STEPS.index, reverse=True)
            told = self.tables.value("SELECT incident FROM sagas WHERE id = %s", [saga])
            is_stuck = model.outcome in {None, "COMPENSATION_FAILED"}
            # One that is paused may have had one before.
            assert (told is not None) == is_stuck or model.is_paused

    @rule(point=st.integers(0, MOST_POINTS))
    def crash(self, point: int) -> None:
        """The same, with one more saga, and the runner dies at this point; its leases are over."""
        self.start(None)
        if _crash(point, None, "default") is None:
            for model in self.sagas.values():
                model.run(world.weather)
            return
        # It dies of its test, and not of a saga. One that was paused after a crash is not due.
        self.tables.execute("UPDATE sagas SET lease_until = NULL WHERE due_at IS NULL")
        self.tables.expire(most_lost=1)
        for saga, model in self.sagas.items():
            self.believe(saga, model)

    def believe(self, saga: uuid.UUID, model: Model) -> None:
        """How far it had come is what is stored, within what the model allows."""
        before, expected = dict(model.steps), deepcopy(model)
        expected.run(world.weather)
        state, outcome, steps = self.stored(saga)
        assert model.state == state or model.outcome is None
        if model.state == "COMPENSATING":
            assert state != "IN_PROGRESS", "a direction is never forgotten"
        assert outcome in {model.outcome, expected.outcome}
        for name, found in steps.items():
            if before[name] in {"COMPENSATED", "PARKED"}:
                assert found == before[name]
            if found == "PENDING":
                assert before[name] in {"PENDING", "FAILED", "UNKNOWN", "IN_PROGRESS"}
        model.state, model.outcome, model.steps = state, outcome, steps
        model.standing = self.standing(saga)
        asked = self.tables.rows(
            "SELECT step_name FROM saga_steps WHERE saga_id = %s AND verifications >= 2", [saga]
        )
        model.asked = {name for (name,) in asked}
        model.is_due = model.is_due and model.outcome is None

    @precondition(lambda self: self.sagas)
    @rule(data=st.data(), wanted=st.lists(POSSIBLE, min_size=1, max_size=4))
    def decide(self, data: Any, wanted: list[bool]) -> None:
        """A person decides some things that can be done, and now and then one that cannot."""
        for is_possible in wanted:
            self.decide_once(data, is_possible)

    def decide_once(self, data: Any, is_possible: bool) -> None:
        saga = data.draw(st.sampled_from(sorted(self.sagas)), "saga")
        model = self.sagas[saga]
        known: dict[tuple[str, str | None], bool] = {
            (action, None): model.may(action) for action in OF_SAGAS
        }
        for pair in product(OF_STEPS, STEPS):
            known[pair] = model.may_step(*pair)
        # People tell the truth.
        for step in STEPS:
            known.pop(("mark_not_done" if step in model.standing else "mark_done", step))
        fitting = [pair for pair, may in known.items() if may is is_possible]
        self.take(saga, *data.draw(st.sampled_from(fitting or list(known)), "action"))

    def take(self, saga: uuid.UUID, action: str, step: str | None = None) -> None:
        """Do it, or be refused as the model says."""
        model = self.sagas[saga]
        is_possible = model.may(action) if step is None else model.may_step(action, step)
        is_possible = is_possible and not (
            model.outcome is not None and model.would_live(action, step) and self.others(saga)
        )
        given = [saga] if step is None else [saga, step]
        if not is_possible:
            with pytest.raises(ActionRefused):
                getattr(actions, action)(*given, **WHY)
            return
        getattr(actions, action)(*given, **WHY)
        if step is None:
            model.decide(action)
            return
        model.decide_step(action, step)
        if action == "mark_handled":
            # By hand, there.
            world.standing[saga].discard(step)
            if step == "reserve":
                self.tables.execute(INSERT, [saga, step, "undone", "by hand"])

    @invariant()
    def every_saga_stands_where_the_model_says(self) -> None:
        assert self.tables.value("SELECT count(*) FROM sagas") == len(self.sagas)
        steps: defaultdict[uuid.UUID, dict[str, str]] = defaultdict(dict)
        for saga, step, state in self.tables.rows(
            "SELECT saga_id, step_name, state FROM saga_steps ORDER BY saga_id, step_order"
        ):
            steps[saga][step] = state
        for saga, state, outcome, is_paused, is_cancelled, ended in self.tables.rows(
            "SELECT id, state, outcome, pause_requested_at IS NOT NULL, "
            "cancel_requested_at IS NOT NULL, completed_at IS NOT NULL FROM sagas"
        ):
            model = self.sagas[saga]
            assert (state, outcome, steps[saga]) == (model.state, model.outcome, model.steps)
            assert (is_paused, is_cancelled) == (model.is_paused, model.is_cancelled)
            assert ended == (model.outcome is not None)

    @invariant()
    def what_was_done_is_what_the_model_says(self) -> None:
        told: defaultdict[uuid.UUID, set[str]] = defaultdict(set)
        for saga, what in self.tables.rows("SELECT saga, what FROM effects"):
            told[saga].add(what)
        for saga, model in self.sagas.items():
            assert self.standing_of(saga, told[saga]) == model.standing
        assert all(len(keys) == 1 for keys in world.keys.values())
        twice = "SELECT saga FROM effects WHERE what = 'done' GROUP BY saga HAVING count(*) > 1"
        assert self.tables.rows(twice) == []

    def others(self, saga: uuid.UUID) -> bool:
        """Whether another saga that lives has its key."""
        key = self.sagas[saga].key
        return key is not None and any(
            model.key == key and model.outcome is None
            for other, model in self.sagas.items()
            if other != saga
        )

    def stored(self, saga: uuid.UUID) -> tuple[str, str | None, dict[str, str]]:
        ((state, outcome),) = self.tables.rows(
            "SELECT state, outcome FROM sagas WHERE id = %s", [saga]
        )
        steps = self.tables.rows(
            "SELECT step_name, state FROM saga_steps WHERE saga_id = %s ORDER BY step_order", [saga]
        )
        return state, outcome, dict(steps)

    def standing(self, saga: uuid.UUID) -> set[str]:
        return self.standing_of(saga, {what for _, what, _ in self.tables.effects(saga)})

    def standing_of(self, saga: uuid.UUID, told: set[str]) -> set[str]:
        return world.standing[saga] | ({"reserve"} if told == {"done"} else set())

    def heal(self) -> None:
        """Everything works from now on, and a person sees to what is left."""
        world.weather = Weather()
        for _ in range(len(self.sagas) + 2):
            if all(model.outcome in WELL for model in self.sagas.values()):
                break
            for saga, model in self.sagas.items():
                if model.is_paused:
                    self.take(saga, "resume")
                for step in STEPS:
                    for action in ("retry_compensation", "retry_step"):
                        is_left = model.steps[step] in {"PARKED", "FAILED", "UNKNOWN"}
                        if is_left and model.may_step(action, step):
                            self.take(saga, action, step)
            self.run()
            self.every_saga_stands_where_the_model_says()
            self.what_was_done_is_what_the_model_says()
        for model in self.sagas.values():
            assert model.outcome in WELL
            if model.outcome == "COMPLETED":
                done = {name for name in STEPS if model.steps[name] == "COMPLETED"}
                assert done <= model.standing
            else:
                assert model.standing == set()


@pytest.fixture
def lived(sagas: Sagas) -> Iterator[None]:
    registry.register(Lived)
    yield
    registry.unregister(Lived)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("runs", "steps"), [(8, 30), pytest.param(150, 50, marks=pytest.mark.slow)]
)
def test_whatever_happens(lived: None, runs: int, steps: int) -> None:
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
