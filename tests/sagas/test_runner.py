"""Runners over connections of their own, several of them, with time and databases that fail."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from hodei.backoff import Backoff
from sagas import chores, registry
from sagas import runner as runner_module
from sagas.definition import (
    NOT_DONE,
    Done,
    Later,
    Retry,
    Saga,
    Step,
    StepContext,
    StepFailed,
    Unknown,
)
from sagas.exceptions import ActionRefused
from sagas.runner import Runner
from sagas.services import actions
from sagas.states import SagaOutcome, SagaState, StepState
from sagas.testing import seen
from tests.processes import eventually
from tests.sagas.conftest import Sagas, running
from tests.sagas.world import local, refuse, remote, undo_local, undo_remote

WHY: dict[str, Any] = {"reason": "a test", "actor": "test"}


def outcome(saga: uuid.UUID) -> SagaOutcome | None:
    return seen(saga).outcome


def nothing(_context: StepContext) -> None: ...


class Plain(Saga):
    kind = "PLAIN"
    steps = (Step("a", local, undo_local, local=True), Step("b", remote, undo_remote))


def test_a_runner_that_sleeps_is_woken_by_a_start(sagas: Sagas) -> None:
    """With polling every hour only the notification can wake it."""
    registry.register(Plain)
    with running(sagas.runner(drain=False, longest_poll=3_600.0)) as _:
        assert eventually(lambda: is_asleep(sagas))
        saga = sagas.start(Plain)
        assert eventually(lambda: outcome(saga) is SagaOutcome.COMPLETED, 10)


def is_asleep(sagas: Sagas) -> bool:
    return bool(
        sagas.value(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s "
            "AND mode = 'ExclusiveLock'",
            [0x73616701],
        )
    )


def test_a_start_that_is_rolled_back_is_no_start(sagas: Sagas) -> None:
    with transaction.atomic():
        sagas.start(Plain)
        transaction.set_rollback(True)

    assert sagas.drain().counts.claimed == 0


def wait_once(context: StepContext) -> str:
    if context.outputs["a"] not in waited:
        waited.append(context.outputs["a"])
        raise Later(0.2)
    return "there"


waited: list[str] = []


def test_a_step_that_waits_holds_no_lease_and_goes_on_when_it_is_time(sagas: Sagas) -> None:
    waited.clear()

    class Waits(Saga):
        kind = "WAITS"
        steps = (Step("a", local, local=True), Step("b", wait_once, undo_remote))

    saga = sagas.start(Waits)
    sagas.drain()
    assert sagas.rows("SELECT lease_owner, state FROM sagas") == [(None, "IN_PROGRESS")]
    assert sagas.step(saga, "b") == "PENDING"
    assert sagas.step(saga, "b", "waits") == 1

    with running(sagas.runner(drain=False)):
        assert eventually(lambda: outcome(saga) is SagaOutcome.COMPLETED)
    assert sagas.rows("SELECT number FROM saga_step_attempts JOIN saga_steps s ON s.id = step_id "
                      "WHERE step_name = 'b'") == [(1,)]  # fmt: skip


@contextmanager
def a_gate() -> Iterator[threading.Event]:
    """Steps that wait for it come back at the end of the block at the latest."""
    gate.clear()
    try:
        yield gate
    finally:
        gate.set()


gate = threading.Event()


def hang(context: StepContext) -> None:
    remote(context)
    gate.wait(30)


def was_done(_context: StepContext) -> Any:
    return Done("found")


def test_a_call_that_does_not_come_back_is_unknown_and_verified(sagas: Sagas) -> None:
    class Hangs(Saga):
        kind = "HANGS"
        steps = (
            Step("b", hang, undo_remote, verify=was_done, timeout=timedelta(seconds=0.2)),
            Step("c", remote),
        )

    saga = sagas.start(Hangs)
    with a_gate(), running(sagas.runner(drain=False, concurrency=1)):
        assert eventually(lambda: outcome(saga) is SagaOutcome.COMPLETED)

    assert seen(saga).outputs["b"] == "found"
    assert ("STEP_UNKNOWN", "b") in seen(saga).events


def test_a_call_that_comes_back_too_late_changes_nothing(sagas: Sagas) -> None:
    class Late(Saga):
        kind = "LATE"
        steps = (Step("b", hang, undo_remote, timeout=timedelta(seconds=0.2)),)

    saga = sagas.start(Late)
    with a_gate() as opened, running(sagas.runner(drain=False)):
        assert eventually(lambda: outcome(saga) is SagaOutcome.COMPENSATED)
        before = seen(saga)
        opened.set()
        # A later saga of the same runner: by then the late one was looked at.
        other = sagas.start(Plain)
        sagas.drain()
        assert eventually(lambda: outcome(other) is SagaOutcome.COMPLETED)
    assert seen(saga) == before


def sleep_in_the_server(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute("SELECT pg_sleep(30)")


def test_a_local_step_that_takes_too_long_is_cancelled_and_has_failed(sagas: Sagas) -> None:
    class Slow(Saga):
        kind = "SLOW"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("b", sleep_in_the_server, local=True, timeout=timedelta(seconds=0.2)),
        )

    saga = sagas.start(Slow)
    sagas.drain()

    ran = seen(saga)
    assert ran.outcome is SagaOutcome.COMPENSATED
    assert ran.steps == {"a": StepState.COMPENSATED, "b": StepState.FAILED}
    assert "statement timeout" in (ran.error or "")


def compute(context: StepContext) -> None:
    """Something that asks the server nothing for longer than its session may be idle."""
    local(context)
    time.sleep(1.6)


def test_a_local_step_that_computes_for_too_long_has_failed_too(sagas: Sagas) -> None:
    class Computes(Saga):
        kind = "COMPUTES"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("b", compute, local=True, timeout=timedelta(seconds=0.2)),
        )

    saga, other = sagas.start(Computes), sagas.start(Plain)
    sagas.drain()

    ran = seen(saga)
    assert ran.outcome is SagaOutcome.COMPENSATED
    assert ran.error == "b failed: It took more than 0.2 s."
    assert [(step, what) for step, what, _ in sagas.effects(saga)] == [
        ("a", "done"),
        ("a", "undone"),
    ]
    assert outcome(other) is SagaOutcome.COMPLETED


def break_the_transaction(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute("INSERT INTO effects (step) VALUES ('broken')")
        with suppress(DatabaseError):
            cursor.execute("SELECT 1/0")


def write_and_raise(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute("INSERT INTO effects (step) VALUES ('raised')")
    raise ValueError("no")


@pytest.mark.parametrize("action", [break_the_transaction, write_and_raise])
def test_what_a_failing_local_step_wrote_is_undone_and_others_are_not(
    sagas: Sagas, action: Any
) -> None:
    class Breaks(Saga):
        kind = "BREAKS"
        steps = (Step("a", local, undo_local, local=True), Step("b", action, local=True))

    broken = sagas.start(Breaks)
    good = [sagas.start(Plain) for _ in range(3)]
    sagas.drain()

    assert outcome(broken) is SagaOutcome.COMPENSATED
    assert [outcome(saga) for saga in good] == [SagaOutcome.COMPLETED] * 3
    assert sagas.value("SELECT count(*) FROM effects WHERE step IN ('broken', 'raised')") == 0
    assert [what for _, what, _ in sagas.effects(broken)] == ["done", "undone"]


def test_a_saga_deadline_turns_it_back(sagas: Sagas) -> None:
    class Due(Saga):
        kind = "DUE"
        deadline = timedelta(seconds=1)
        steps = (Step("a", local, undo_local, local=True), Step("b", wait_for_ever, undo_remote))

    saga = sagas.start(Due)
    sagas.drain()
    assert sagas.value("SELECT due_at = deadline_at FROM sagas"), "it rests until its deadline"
    ran = sagas.finish(saga)

    assert ran.outcome is SagaOutcome.COMPENSATED
    assert ran.error == "Its deadline has passed."
    assert [step for step, _, _ in sagas.effects(saga)] == ["a", "b", "a"]


def wait_for_ever(_context: StepContext) -> None:
    raise Later(3_600)


def test_all_attempts_of_a_step_together_have_their_time(sagas: Sagas) -> None:
    class Tries(Saga):
        kind = "TRIES"
        steps = (
            Step("a", local, undo_local, local=True),
            Step(
                "b",
                fail,
                retry=Retry(attempts=1_000, base=3_600, cap=3_600),
                total_timeout=timedelta(hours=10),
            ),
        )

    saga = sagas.start(Tries)
    ran = sagas.finish(saga)

    assert ran.outcome is SagaOutcome.COMPENSATED
    assert ran.steps["b"] is StepState.FAILED


def fail(_context: StepContext) -> None:
    raise StepFailed("no")


def cancel_myself(context: StepContext) -> None:
    """Somebody cancels the saga over another connection while its last step runs."""

    def work() -> None:
        try:
            actions.cancel(context.saga_id, **WHY)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("is_local", [True, False])
def test_a_saga_that_is_cancelled_while_its_last_step_runs_turns_back(
    sagas: Sagas, is_local: bool
) -> None:
    class Last(Saga):
        kind = "LAST"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("b", cancel_myself, undo_local if is_local else undo_remote, local=is_local),
        )

    saga = sagas.start(Last)
    sagas.drain()

    assert outcome(saga) is SagaOutcome.CANCELLED
    assert [(step, what) for step, what, _ in sagas.effects(saga)] == [
        ("a", "done"),
        ("b", "undone"),
        ("a", "undone"),
    ]
    assert ("SAGA_COMPLETED", None) not in seen(saga).events


# --- several of them -----------------------------------------------------------------------------


class Limited(Saga):
    kind = "LIMITED"
    limit = 3
    steps = (Step("a", remote), Step("b", remote))


def test_a_limit_is_never_exceeded(sagas: Sagas) -> None:
    registry.register(Limited)
    with transaction.atomic():
        ids = [sagas.start(Limited) for _ in range(30)]
    stop = threading.Event()
    most: list[int] = []

    def watch() -> None:
        while not stop.is_set():
            most.append(
                sagas.value(
                    "SELECT count(*) FROM sagas WHERE saga_type = 'LIMITED' "
                    "AND state IN ('IN_PROGRESS', 'COMPENSATING')"
                )
            )
        connections.close_all()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with running(*(sagas.runner(drain=False, longest_poll=0.05) for _ in range(2))):
            assert eventually(
                lambda: sagas.value("SELECT count(*) = 0 FROM sagas WHERE outcome IS NULL")
            )
    finally:
        stop.set()
        watcher.join()

    assert max(most) <= 3
    assert {outcome(saga) for saga in ids} == {SagaOutcome.COMPLETED}


def test_a_saga_that_waits_counts_for_the_limit(sagas: Sagas) -> None:
    class One(Saga):
        kind = "ONE"
        limit = 1
        steps = (Step("a", wait_for_ever, undo_remote),)

    first = sagas.start(One)
    second = sagas.start(One)
    sagas.drain()
    assert (seen(first).state, seen(second).state) == (SagaState.IN_PROGRESS, SagaState.PENDING)

    actions.cancel(first, **WHY)
    sagas.drain()

    assert (outcome(first), seen(second).state) == (SagaOutcome.CANCELLED, SagaState.IN_PROGRESS)


rng = Random(11)
mutex = threading.Lock()


def anything(context: StepContext) -> str:
    """Done, refused or nobody knows, as its key says: so that the plan of the saga is known."""
    with mutex:
        lot = rng.random()
    if lot < 0.06 and look(context) is NOT_DONE:
        raise StepFailed("not today")
    if lot < 0.10:
        remote(context)
        raise Unknown("the line went dead")
    if lot < 0.13:
        raise Unknown("the line was dead")
    if lot < 0.16:
        raise Later(0.01)
    return remote(context)


def undo_anything(context: StepContext) -> None:
    with mutex:
        lot = rng.random()
    if lot < 0.2:
        raise Unknown("the line is dead")
    undo_remote(context)


def look(context: StepContext) -> Any:
    with connections[context.using].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM effects WHERE saga = %s AND step = %s AND what = 'done'",
            [context.saga_id, context.step],
        )
        return Done("found") if cursor.fetchone()[0] else NOT_DONE


QUICKLY = Retry(attempts=3, base=0.001, cap=0.01)
OFTEN = Retry(attempts=20, base=0.001, cap=0.01)


class Wild(Saga):
    kind = "WILD"
    limit = 40
    steps = (
        Step("a", local, undo_local, local=True),
        Step("b", anything, undo_anything, verify=look, retry=QUICKLY, compensation_retry=OFTEN),
        Step("c", anything, undo_anything, group="g", compensation_retry=OFTEN),
        Step("d", anything, undo_anything, group="g", verify=look, compensation_retry=OFTEN),
        Step("e", anything, pivot=True, verify=look, retry=QUICKLY),
        Step("f", anything, verify=look, retry=QUICKLY),
        Step("g", local, local=True),
    )


def load(sagas: Sagas, number: int, seconds: float) -> None:
    """Many sagas with random failures, two runners, and people who pause, resume and cancel."""
    registry.register(Wild)
    ids = []
    for _ in range(0, number, 50):
        with transaction.atomic():
            ids += [sagas.start(Wild) for _ in range(min(50, number))]
    people = Random(5)
    paused: set[uuid.UUID] = set()
    with running(*(sagas.runner(drain=False, longest_poll=0.1) for _ in range(2))):
        for saga in people.sample(ids, len(ids) // 5):
            with suppress(ActionRefused):
                if people.random() < 0.5:
                    actions.cancel(saga, **WHY)
                else:
                    actions.pause(saga, **WHY)
                    paused.add(saga)
        for saga in paused:
            with suppress(ActionRefused):
                actions.resume(saga, **WHY)
        assert eventually(
            lambda: sagas.value("SELECT count(*) = 0 FROM sagas WHERE outcome IS NULL"), seconds
        ), sagas.rows("SELECT state, incident, count(*) FROM sagas GROUP BY 1, 2")
    for saga in ids:
        account(sagas, saga)


def account(sagas: Sagas, saga: uuid.UUID) -> None:
    """Its end is a declared one, and what its steps did fits to it."""
    ran = seen(saga)
    effects = sagas.effects(saga)
    done = Counter(step for step, what, _ in effects if what == "done")
    undone = Counter(step for step, what, _ in effects if what == "undone")
    keys = {step: {key for one, _, key in effects if one == step} for step, _, _ in effects}
    assert all(len(found) == 1 for found in keys.values())
    assert done["a"] <= 1
    assert done["g"] <= 1
    if ran.outcome is SagaOutcome.COMPLETED:
        assert set(ran.steps.values()) == {StepState.COMPLETED}
        assert all(done[name] for name in ran.steps)
        assert not undone
    else:
        assert ran.outcome in {SagaOutcome.COMPENSATED, SagaOutcome.CANCELLED}, ran
        for name in "abcd":
            assert not done[name] or undone[name], (name, ran)
        assert not done["e"]
        assert not done["g"]


def test_two_runners_and_random_failures(sagas: Sagas) -> None:
    load(sagas, 60, 60)


@pytest.mark.slow
def test_two_runners_five_thousand_sagas_and_random_failures(sagas: Sagas) -> None:
    load(sagas, 5_000, 280)


# --- databases that fail -------------------------------------------------------------------------


def test_a_runner_goes_on_when_all_its_sessions_were_ended(
    sagas: Sagas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "RECONNECTS", Backoff(base=0.05, cap=0.1))
    ids = [sagas.start(Plain) for _ in range(40)]
    with running(sagas.runner(drain=False, batch=10, longest_poll=0.1)):
        for _ in range(3):
            count = len([saga for saga in ids if outcome(saga) is not None])
            sagas.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            # Until it has got on.
            assert eventually(
                lambda count=count: (
                    count == 40  # type: ignore[misc]
                    or sum(outcome(saga) is not None for saga in ids) > count
                ),
                40,
            )
        assert eventually(lambda: all(outcome(saga) is not None for saga in ids), 60)
    for saga in ids:
        effects = [(step, what) for step, what, _ in sagas.effects(saga)]
        assert effects.count(("a", "done")) == 1, "a local step runs once"
        assert outcome(saga) in {SagaOutcome.COMPLETED, SagaOutcome.COMPENSATED}


def test_a_database_that_is_not_there_is_an_error() -> None:
    from psycopg import OperationalError

    from tests.databases import forget, point

    point("nowhere", {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "USER": "x",
                      "PASSWORD": "", "HOST": "127.0.0.1", "PORT": "1"})  # fmt: skip
    try:
        with pytest.raises(OperationalError):
            Runner(runner_module.RunnerOptions(using="nowhere", drain=True, definitions=())).run()
    finally:
        forget("nowhere")


def test_an_unknown_version_is_left_alone(sagas: Sagas) -> None:
    known, newer = sagas.start(Plain), sagas.start(Plain)
    changed = sagas.start(Plain)
    sagas.execute("UPDATE sagas SET definition_version = 2 WHERE id = %s", [newer])
    sagas.execute("UPDATE sagas SET steps_hash = 'another' WHERE id = %s", [changed])
    sagas.drain()

    assert outcome(known) is SagaOutcome.COMPLETED
    assert seen(newer).state is SagaState.PENDING
    assert seen(changed).state is SagaState.PENDING
    assert sagas.value("SELECT max(lease_epoch) FROM sagas WHERE id <> %s", [known]) == 0


def test_two_versions_of_a_kind_run_side_by_side(sagas: Sagas) -> None:
    class First(Saga):
        kind = "VERSIONED"
        steps = (Step("old", remote),)

    class Second(Saga):
        kind = "VERSIONED"
        version = 2
        limit = 2
        steps = (Step("new", remote),)

    old = sagas.start(First)
    new = sagas.start(Second)
    sagas.drain()

    assert (seen(old).steps, seen(new).steps) == (
        {"old": StepState.COMPLETED},
        {"new": StepState.COMPLETED},
    )


# --- chores --------------------------------------------------------------------------------------


def test_one_runner_at_a_time_does_a_chore(sagas: Sagas) -> None:
    did: list[str] = []
    second: list[bool] = []

    @registry.elected(seconds=0.01, name="test")
    def chore(using: str) -> None:
        if not did:
            thread = threading.Thread(target=lambda: second.append(other()))
            thread.start()
            thread.join()
        did.append(using)

    def other() -> bool:
        try:
            (ours,) = [one for one in registry.chores() if one.name == "test"]
            return chores.run_chore(ours, "default")
        finally:
            connections.close_all()

    try:
        with running(sagas.runner(drain=False, chores=True)):
            assert eventually(lambda: len(did) > 1)
    finally:
        registry._chores.pop("test")
    assert second == [False]


def test_a_chore_that_fails_is_undone_and_called_again(
    sagas: Sagas, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[float] = []

    @registry.elected(seconds=0.01, name="test")
    def chore(using: str) -> None:
        calls.append(time.monotonic())
        with connections[using].cursor() as cursor:
            cursor.execute("INSERT INTO effects (step) VALUES ('chore')")
        raise ValueError("no")

    try:
        with running(sagas.runner(drain=False, chores=True)):
            assert eventually(lambda: len(calls) > 1)
    finally:
        registry._chores.pop("test")
    assert sagas.value("SELECT count(*) FROM effects") == 0
    assert "chore failed" in caplog.text


def test_nothing_that_is_refused_stays_behind(sagas: Sagas) -> None:
    class Refused(Saga):
        kind = "REFUSED"
        steps = (Step("a", nothing, local=True), Step("b", refuse))

    saga = sagas.start(Refused)
    sagas.drain()

    assert outcome(saga) is SagaOutcome.COMPENSATED
    assert sagas.rows("SELECT lease_owner, lease_until, due_at FROM sagas") == [(None, None, None)]
