from __future__ import annotations

import threading
import time

import pytest
from django.db import connections

from hodei.backoff import Backoff
from sagas import chores, registry
from sagas import runner as runner_module
from sagas.definition import Saga, Step, StepContext
from sagas.runner import Runner
from sagas.states import SagaOutcome
from sagas.testing import seen
from tests.processes import eventually
from tests.sagas.conftest import Sagas, running
from tests.sagas.test_runner.kit import Plain, a_gate, gate, outcome
from tests.sagas.world import remote, undo_remote


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


def test_a_call_under_way_is_its_runner_s_while_the_database_refuses_another_write(
    sagas: Sagas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for want of room, or of time: no session is lost by that, and no call has failed."""
    monkeypatch.setattr(runner_module, "RECONNECTS", Backoff(base=0.05, cap=0.1))
    called = threading.Event()

    def wait(context: StepContext) -> str:
        called.set()
        assert gate.wait(30)
        return remote(context)

    class Waits(Saga):
        kind = "WAITS"
        steps = (Step("a", wait, undo_remote),)

    refusals = "SELECT last_value FROM refusals"
    sagas.execute(
        "CREATE SEQUENCE refusals; SELECT nextval('refusals'); "
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM nextval('refusals'); RAISE EXCEPTION 'no room'; END $$; "
        "CREATE TRIGGER refuse BEFORE UPDATE ON sagas FOR EACH ROW "
        "WHEN (new.saga_type = 'PLAIN' AND new.outcome IS NOT NULL) EXECUTE FUNCTION refuse()"
    )
    try:
        saga = sagas.start(Waits)
        with (
            a_gate() as gate_,
            running(sagas.runner(drain=False, longest_poll=0.1, definitions=[Waits, Plain])),
        ):
            assert called.wait(30)
            plain = sagas.start(Plain)
            assert eventually(lambda: sagas.value(refusals) > 3)
            sagas.execute("DROP TRIGGER refuse ON sagas")
            assert eventually(lambda: outcome(plain) is not None)
            gate_.set()
            assert eventually(lambda: outcome(saga) is not None)
    finally:
        sagas.execute("DROP FUNCTION refuse CASCADE; DROP SEQUENCE refusals")

    assert outcome(saga) is SagaOutcome.COMPLETED
    assert ("STEP_UNKNOWN", "a") not in seen(saga).events
    assert len(sagas.effects(saga)) == 1


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


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_a_chore_that_fails_is_undone_and_called_again(
    sagas: Sagas, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    calls: list[float] = []

    @registry.elected(seconds=0.01, name="test")
    def chore(using: str) -> None:
        calls.append(time.monotonic())
        with connections[using].cursor() as cursor:
            cursor.execute("INSERT INTO effects (step) VALUES ('chore')")
        raise error

    try:
        with running(sagas.runner(drain=False, chores=True)):
            assert eventually(lambda: len(calls) > 1)
    finally:
        registry._chores.pop("test")
    assert sagas.value("SELECT count(*) FROM effects") == 0
    assert "chore failed" in caplog.text
