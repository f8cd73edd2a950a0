"""Each fault of the system whose tables these are, by the number it has in the notes on it (S1 to
S12), and those of the older release that the tables come from."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction

from hodei.sessions import connect
from sagas import registry
from sagas.definition import Done, Later, Retry, Saga, Step, StepContext, StepFailed, Unknown
from sagas.exceptions import ActionRefused
from sagas.leases import Leases
from sagas.ledger import record
from sagas.services import actions
from sagas.services.retention import Keep, prune
from sagas.states import SagaOutcome, SagaState, StepState
from sagas.testing import seen
from tests.processes import eventually
from tests.sagas.conftest import Sagas, running
from tests.sagas.test_runner.kit import a_gate, gate, is_asleep
from tests.sagas.world import local, refuse, remote, run_and_die, undo_local, undo_remote

WHY: dict[str, Any] = {"reason": "a test", "actor": "test"}


class Simple(Saga):
    kind = "SIMPLE"
    steps = (
        Step("a", local, undo_local, local=True),
        Step("b", remote, undo_remote),
        Step("c", refuse),
    )


@pytest.fixture
def session(sagas: Sagas) -> Iterator[Any]:
    session = connect("default", "test")
    yield session
    session.close()


def test_s1_two_runners_never_have_one_saga(sagas: Sagas, session: Any) -> None:
    for _ in range(20):
        sagas.start(Simple)
    first, second = Leases("first", [Simple]), Leases("second", [Simple])

    with connect("default", "other") as other:
        ours, theirs = first.claim(session, 12), second.claim(other, 12)

    assert (len(ours), len(theirs)) == (12, 8)
    assert not {held.saga.id for held in ours} & {held.saga.id for held in theirs}
    assert sagas.rows("SELECT lease_owner, count(*) FROM sagas GROUP BY 1 ORDER BY 1") == [
        ("first", 12),
        ("second", 8),
    ]


def test_s1_a_claim_waits_for_nobody(sagas: Sagas, session: Any) -> None:
    """Rows that another claim is just locking are passed over."""
    for _ in range(2):
        sagas.start(Simple)
    with session.transaction():
        assert len(Leases("first", [Simple]).claim(session, 1)) == 1
        with connect("default", "other") as other:
            other.execute("SET lock_timeout = '2s'")
            assert len(Leases("second", [Simple]).claim(other, 2)) == 1


def test_s2_a_claim_does_not_turn_a_rollback_forward(sagas: Sagas, session: Any) -> None:
    saga = sagas.start(Simple)
    number = 0
    while sagas.value("SELECT state FROM sagas WHERE id = %s", [saga]) != "COMPENSATING":
        assert run_and_die(number) < 0
        sagas.expire()
        number += 1
    (held,) = Leases("next", [Simple]).claim(session, 1)

    assert held.saga.state is SagaState.COMPENSATING
    sagas.expire()
    assert sagas.finish(saga).outcome is SagaOutcome.COMPENSATED
    assert "c" not in {step for step, _, _ in sagas.effects(saga)}


def test_s3_a_kind_that_nobody_knows_is_not_run_as_another_one(sagas: Sagas) -> None:
    saga = sagas.start(Simple)
    sagas.execute("UPDATE sagas SET saga_type = 'CLEANUP_OF_OLD' WHERE id = %s", [saga])

    sagas.drain()

    assert seen(saga).state is SagaState.PENDING
    assert sagas.effects(saga) == []


def test_s4_no_transaction_is_open_while_a_remote_step_runs(sagas: Sagas) -> None:
    class Held(Saga):
        kind = "HELD"
        steps = (Step("a", hold, undo_remote),)

    saga = sagas.start(Held)
    entered.clear()
    with a_gate(), running(sagas.runner(drain=False)):
        assert entered.wait(20)
        # Whoever is idle in a transaction holds back what vacuum may remove.
        assert eventually(
            lambda: sagas.value(
                "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() "
                "AND (state LIKE 'idle in transaction%%' OR backend_xid IS NOT NULL)",
                [],
            )
        )
        assert sagas.step(saga, "a") == "IN_PROGRESS", "and its intent is committed"
        gate.set()
        assert eventually(lambda: seen(saga).outcome is SagaOutcome.COMPLETED)


entered = threading.Event()


def hold(_context: StepContext) -> None:
    entered.set()
    gate.wait(20)


def test_s5_a_step_that_failed_is_recorded(sagas: Sagas) -> None:
    saga = sagas.start(Simple)
    sagas.drain()

    assert sagas.step(saga, "c") == "FAILED"
    assert sagas.step(saga, "c", "error_message") == "It is not wanted."
    assert sagas.rows(
        "SELECT direction, number, error_class, a.error_message, finished_at IS NOT NULL "
        "FROM saga_step_attempts AS a JOIN saga_steps AS s ON s.id = a.step_id "
        "WHERE step_name = 'c'"
    ) == [("FORWARD", 1, "StepFailed", "It is not wanted.", True)]


def succeed_and_hang(context: StepContext) -> None:
    remote(context)
    gate.wait(20)


def test_s6_a_step_that_times_out_after_succeeding_is_compensated(sagas: Sagas) -> None:
    class Created(Saga):
        kind = "CREATED"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("vm", succeed_and_hang, undo_remote, timeout=timedelta(seconds=0.3)),
        )

    saga = sagas.start(Created)
    with a_gate(), running(sagas.runner(drain=False)):
        assert eventually(lambda: seen(saga).outcome is SagaOutcome.COMPENSATED)

    effects = [(step, what) for step, what, _ in sagas.effects(saga)]
    assert effects == [("a", "done"), ("vm", "done"), ("vm", "undone"), ("a", "undone")]


def find_it(context: StepContext) -> Any:
    with connections[context.using].cursor() as cursor:
        cursor.execute("SELECT 1 FROM effects WHERE key = %s", [context.key])
        assert cursor.fetchone()
    return Done({"found": context.key})


def test_s6_a_step_that_times_out_after_succeeding_is_verified(sagas: Sagas) -> None:
    class Found(Saga):
        kind = "FOUND"
        steps = (
            Step(
                "vm",
                succeed_and_hang,
                undo_remote,
                verify=find_it,
                timeout=timedelta(seconds=0.3),
            ),
            Step("c", refuse),
        )

    saga = sagas.start(Found)
    with a_gate(), running(sagas.runner(drain=False)):
        assert eventually(lambda: seen(saga).outcome is SagaOutcome.COMPENSATED)

    assert [(step, what) for step, what, _ in sagas.effects(saga)] == [
        ("vm", "done"),
        ("vm", "undone"),
    ]
    assert sagas.step(saga, "vm", "output_data->>'found'") == str(sagas.step(saga, "vm", "id"))


def test_s7_a_rollback_and_a_success_can_be_told_apart(sagas: Sagas) -> None:
    class Good(Saga):
        kind = "GOOD"
        steps = (Step("a", local, local=True),)

    good, bad = sagas.start(Good), sagas.start(Simple)
    sagas.drain()

    assert (seen(good).state, seen(good).outcome) == (SagaState.COMPLETED, SagaOutcome.COMPLETED)
    assert (seen(bad).state, seen(bad).outcome) == (SagaState.COMPLETED, SagaOutcome.COMPENSATED)


def cannot(_context: StepContext) -> None:
    raise Unknown("the provider is away")


def test_s8_a_failing_compensation_is_retried_and_parked_and_others_go_on(sagas: Sagas) -> None:
    class Stuck(Saga):
        kind = "STUCK"
        steps = (
            Step("a", local, undo_local, local=True),
            Step("b", remote, cannot, compensation_retry=Retry(attempts=3, base=0.001, cap=0.002)),
            Step("c", remote, undo_remote),
            Step("d", refuse),
        )

    saga = sagas.start(Stuck)
    ran = sagas.finish(saga)

    assert (ran.state, ran.outcome) == (SagaState.FAILED, SagaOutcome.COMPENSATION_FAILED)
    assert "b" in (ran.incident or "")
    assert [ran.steps[name].value for name in "abc"] == ["COMPENSATED", "PARKED", "COMPENSATED"]
    assert sagas.step(saga, "b", "compensation_attempts") == 3

    actions.mark_handled(saga, "b", **WHY)
    sagas.drain()

    assert seen(saga).outcome is SagaOutcome.COMPENSATED


def test_s9_a_write_of_an_older_lease_does_nothing(sagas: Sagas, session: Any) -> None:
    sagas.start(Simple)
    old, new = Leases("old", [Simple]), Leases("new", [Simple])
    (stale,) = old.claim(session, 1)
    sagas.expire()
    (fresh,) = new.claim(session, 1)
    assert fresh.saga.epoch == stale.saga.epoch + 1
    stale.rests = True

    assert record(session, old, [stale]) == [stale]

    assert sagas.rows("SELECT lease_owner, lease_epoch FROM sagas") == [("new", 2)]
    assert old.renew(session, [stale]) == set()
    old.release(session, [stale])
    assert sagas.rows("SELECT lease_owner, lease_epoch FROM sagas") == [("new", 2)]


def test_s9_the_trace_of_the_starting_code_is_kept(sagas: Sagas) -> None:
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    sagas.start(Simple, trace_parent=trace)

    assert sagas.value("SELECT trace_parent FROM sagas") == trace


def test_s10_a_resumed_saga_has_the_same_input_outputs_and_keys(sagas: Sagas) -> None:
    got.clear()

    class Remembers(Saga):
        kind = "REMEMBERS"
        steps = (
            Step("a", give, local=True),
            Step("b", take, retry=Retry(attempts=9, base=0.001, cap=0.001)),
        )

    saga = sagas.start(Remembers, {"order": 7, "deep": {"x": [1, None, "é"]}})
    sagas.finish(saga)

    assert len(got) == 3
    assert {str(one[:3]) for one in got} == {str(got[0][:3])}
    assert got[0][0] == {"order": 7, "deep": {"x": [1, None, "é"]}}
    assert got[0][1]["a"] == {"made": str(saga)}
    assert [one[3] for one in got] == [1, 2, 3]


def test_s10_what_a_step_got_is_stored_with_it(sagas: Sagas) -> None:
    class Kept(Saga):
        kind = "KEPT"
        steps = (
            Step("a", give, local=True),
            Step("b", remote, undo_remote),
            Step("c", refuse),
            Step("d", local, local=True),
        )

    saga = sagas.start(Kept, {"order": 7})
    sagas.drain()

    given = {"input": {"order": 7}, "outputs": {}}
    assert sagas.step(saga, "a", "input_data::text::json") == given
    given["outputs"] = {"a": {"made": str(saga)}}
    assert sagas.step(saga, "b", "input_data::text::json") == given
    given["outputs"] |= {"b": "b"}
    assert sagas.step(saga, "c", "input_data::text::json") == given
    assert sagas.step(saga, "d", "input_data") is None, "it has not begun"


got: list[tuple[Any, Any, str, int]] = []


def give(context: StepContext) -> dict[str, str]:
    return {"made": str(context.saga_id)}


def take(context: StepContext) -> None:
    got.append((context.input, dict(context.outputs), context.key, context.attempt))
    if len(got) < 3:
        raise StepFailed("not yet")


def test_s11_the_audit_is_stored_with_what_it_tells(sagas: Sagas) -> None:
    saga = sagas.start(Simple, actor="ada")
    sagas.drain()

    assert seen(saga).events == (
        ("SAGA_STARTED", None),
        ("STEP_COMPLETED", "a"),
        ("STEP_STARTED", "b"),
        ("STEP_COMPLETED", "b"),
        ("STEP_STARTED", "c"),
        ("STEP_FAILED", "c"),
        ("COMPENSATION_STARTED", "c"),
        ("STEP_COMPENSATING", "b"),
        ("STEP_COMPENSATED", "b"),
        ("STEP_COMPENSATED", "a"),
        ("SAGA_COMPENSATED", None),
    )
    assert sagas.value("SELECT count(DISTINCT occurred_at) = count(*) FROM saga_audit_events")


def test_s12_sagas_are_deleted_whichever_way_they_ended_and_their_audit_outlives_them(
    sagas: Sagas,
) -> None:
    done, cancelled = sagas.start(Simple), sagas.start(Simple)
    actions.cancel(cancelled, **WHY)
    sagas.drain()
    live = sagas.start(Simple)
    events = sagas.value("SELECT count(*) FROM saga_audit_events")

    deleted = {
        one.what: one.rows for one in prune(Keep(sagas=timedelta(0), audit=timedelta(days=1)))
    }

    assert deleted == {"sagas": 2, "audit events": 0}
    assert sagas.rows("SELECT id FROM sagas") == [(live,)]
    assert sagas.value("SELECT count(*) FROM saga_audit_events") == events
    assert sagas.value("SELECT count(*) FROM saga_steps WHERE saga_id = %s", [done]) == 0
    assert [one.rows for one in prune(Keep(sagas=None, audit=timedelta(0)))] == [events - 1]


class TestOlderRelease:
    def test_a_failing_saga_is_compensated_and_does_not_only_say_so(self, sagas: Sagas) -> None:
        saga = sagas.start(Simple)
        sagas.drain()

        assert [what for step, what, _ in sagas.effects(saga) if step in "ab"] == [
            "done",
            "done",
            "undone",
            "undone",
        ]

    def test_a_saga_has_its_own_deadline_also_between_steps(self, sagas: Sagas) -> None:
        class Due(Saga):
            kind = "DUE_OWN"
            deadline = timedelta(seconds=300)
            steps = (Step("a", wait, undo_remote),)

        saga = sagas.start(Due)
        sagas.drain()

        seconds = sagas.value("SELECT extract(epoch FROM deadline_at - started_at) FROM sagas")
        assert float(seconds) == 300
        assert sagas.finish(saga).error == "Its deadline has passed."

    def test_a_saga_that_has_ended_is_not_opened_again(self, sagas: Sagas) -> None:
        saga = sagas.start(Simple)
        sagas.drain()
        before = seen(saga)

        with pytest.raises(ActionRefused, match="has ended"):
            actions.cancel(saga, **WHY)
        sagas.drain()

        assert seen(saga) == before

    def test_cancelling_stops_what_runs_at_the_next_border(self, sagas: Sagas) -> None:
        class Long(Saga):
            kind = "LONG"
            steps = (Step("a", hold, undo_remote), Step("b", remote, undo_remote))

        saga = sagas.start(Long)
        entered.clear()
        with a_gate(), running(sagas.runner(drain=False)):
            assert entered.wait(20)
            actions.cancel(saga, **WHY)
            gate.set()
            assert eventually(lambda: seen(saga).outcome is SagaOutcome.CANCELLED)

        assert [(step, what) for step, what, _ in sagas.effects(saga)] == [("a", "undone")]

    def test_the_limit_is_in_the_database_and_not_in_a_process(
        self, sagas: Sagas, session: Any
    ) -> None:
        class Two(Saga):
            kind = "TWO"
            limit = 2
            steps = (Step("a", local, local=True),)

        for _ in range(4):
            sagas.start(Two)

        assert len(Leases("first", [Two]).claim(session, 9)) == 2
        assert len(Leases("second", [Two]).claim(session, 9)) == 0

    def test_an_error_of_the_database_is_no_end_of_a_saga(self, sagas: Sagas) -> None:
        class Broken(Saga):
            kind = "BROKEN"
            steps = (Step("a", local, undo_local, local=True), Step("b", divide, local=True))

        saga = sagas.start(Broken)
        sagas.drain()

        assert seen(saga).outcome is SagaOutcome.COMPENSATED
        assert "division by zero" in (seen(saga).error or "")

    def test_all_three_tries_are_made_with_their_pauses(self, sagas: Sagas) -> None:
        class Tries(Saga):
            kind = "TRIES_THRICE"
            steps = (Step("a", refuse_softly, retry=Retry(attempts=3, base=600, cap=600)),)

        saga = sagas.start(Tries)
        sagas.drain()
        assert sagas.value("SELECT due_at > clock_timestamp() FROM sagas")

        ran = sagas.finish(saga)

        assert ran.outcome is SagaOutcome.COMPENSATED
        assert sagas.value("SELECT count(*) FROM saga_step_attempts") == 3

    def test_a_runner_that_sleeps_is_woken(self, sagas: Sagas) -> None:
        """Its coordinator looked at fixed times only."""
        registry.register(Simple)
        with running(sagas.runner(drain=False, longest_poll=3_600.0)):
            assert eventually(lambda: is_asleep(sagas))
            with transaction.atomic():
                saga: uuid.UUID = sagas.start(Simple)
            assert eventually(lambda: seen(saga).steps["c"] is StepState.FAILED)


def wait(_context: StepContext) -> None:
    raise Later(3_600)


def divide(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute("SELECT 1/0")


def refuse_softly(_context: StepContext) -> None:
    raise StepFailed("not now")
