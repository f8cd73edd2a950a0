"""Two who decide about one saga at the same moment, or one who decides and the runner that drives
it: what is done is done once, the other is told, and nobody waits crosswise."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from hodei.sessions import connect
from sagas.definition import Saga, Step, StepContext, StepFailed, Unknown
from sagas.exceptions import ActionRefused, ResourceLocked
from sagas.leases import Leases
from sagas.services import actions
from sagas.services.start import start
from tests.meeting import in_turns, kinds
from tests.sagas.conftest import Sagas

WHO: dict[str, Any] = {"reason": "why", "actor": "ada"}


def done(context: StepContext) -> str:
    return context.step


def undo(_context: StepContext) -> None: ...


def nobody_knows(_context: StepContext) -> None:
    raise Unknown("the line went dead")


def cannot_undo(_context: StepContext) -> None:
    raise StepFailed("no", retry=False)


class Short(Saga):
    kind = "SHORT"
    steps = (Step("one", done, undo, local=True), Step("two", done, undo, local=True))


class Unsure(Saga):
    kind = "UNSURE"
    steps = (Step("one", done, undo, local=True), Step("ask", nobody_knows, pivot=True))


class Left(Saga):
    kind = "LEFT"
    steps = (
        Step("one", done, cannot_undo, local=True),
        Step("two", cannot_undo, local=True),
    )


def by(act: Callable[..., str], *more: Any) -> Callable[[uuid.UUID], str]:
    return lambda saga: act(saga, *more, **WHO)


@pytest.fixture
def drive(sagas: Sagas) -> Callable[[Any], None]:
    def run(_saga: Any) -> None:
        sagas.drain()

    return run


@pytest.mark.parametrize("act", [actions.cancel, actions.pause])
def test_a_decision_meets_the_runner(sagas: Sagas, drive: Any, act: Any) -> None:
    for saga, one, other in in_turns(by(act), drive, prepare=lambda: sagas.start(Short)):
        assert other is None
        assert isinstance(one, (str, ActionRefused))
        sagas.drain()
        state, outcome, paused = sagas.rows(
            "SELECT state, outcome, pause_requested_at IS NOT NULL FROM sagas WHERE id = %s", [saga]
        )[0]
        told = {row[0] for row in sagas.rows(
            "SELECT event_type FROM saga_audit_events WHERE saga_id = %s", [saga])}  # fmt: skip
        if isinstance(one, ActionRefused):
            assert outcome == "COMPLETED"
        elif act is actions.pause:
            assert paused
            assert "SAGA_PAUSED" in told
            assert outcome in {None, "COMPLETED"}
        else:
            assert outcome in {"CANCELLED", "COMPENSATED"}, (state, outcome, one)


def test_a_pause_meets_a_claim(sagas: Sagas) -> None:
    """Who claims first has it until the next border; who pauses first is met by nobody."""

    def claim(_saga: uuid.UUID) -> int:
        with connect("default", "meeting") as session:
            return len(Leases("another", [Short]).claim(session, 5))

    for saga, one, claimed in in_turns(
        by(actions.pause), claim, prepare=lambda: sagas.start(Short)
    ):
        assert isinstance(one, str)
        assert sagas.rows(
            "SELECT lease_owner IS NOT NULL, due_at IS NOT NULL FROM sagas WHERE id = %s", [saga]
        ) == [(claimed == 1, claimed == 1)]
        sagas.execute("UPDATE sagas SET due_at = NULL, lease_owner = NULL")


@pytest.mark.parametrize("act", [actions.cancel, actions.pause, actions.compensate])
def test_the_same_decision_twice_is_taken_once(sagas: Sagas, act: Any) -> None:
    def prepare() -> uuid.UUID:
        saga = sagas.start(Short)
        if act is actions.compensate:
            sagas.execute("UPDATE sagas SET state = 'IN_PROGRESS' WHERE id = %s", [saga])
        return saga

    for _saga, one, other in in_turns(by(act), by(act), prepare=prepare):
        assert kinds(one, other) == ["ActionRefused", "str"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (by(actions.mark_done, "ask"), by(actions.mark_not_done, "ask")),
        (by(actions.mark_done, "ask"), by(actions.mark_done, "ask")),
        (by(actions.skip_step, "ask"), by(actions.mark_done, "ask")),
        (by(actions.mark_not_done, "ask"), by(actions.skip_step, "ask")),
    ],
)
def test_two_decide_about_one_step(sagas: Sagas, first: Any, second: Any) -> None:
    def prepare() -> uuid.UUID:
        saga = sagas.start(Unsure)
        sagas.finish(saga)
        assert sagas.step(saga, "ask") == "UNKNOWN"
        return saga

    for saga, one, other in in_turns(first, second, prepare=prepare):
        # After "not done" the step has not been tried yet: to skip it is a new decision.
        assert kinds(one, other) in (["ActionRefused", "str"], ["str", "str"])
        told = sagas.value(
            "SELECT count(*) FROM saga_audit_events WHERE saga_id = %s "
            "AND event_type IN ('STEP_MARKED_DONE', 'STEP_MARKED_NOT_DONE', 'STEP_SKIPPED')",
            [saga],
        )
        assert told == kinds(one, other).count("str")


@pytest.mark.parametrize("again", [actions.retry_compensation, actions.mark_handled])
def test_what_is_left_behind_is_handled_once(sagas: Sagas, again: Any) -> None:
    def prepare() -> uuid.UUID:
        saga = sagas.start(Left)
        sagas.finish(saga)
        assert sagas.step(saga, "one") == "PARKED"
        return saga

    handled = by(actions.mark_handled, "one")
    for saga, one, other in in_turns(handled, by(again, "one"), prepare=prepare):
        assert kinds(one, other) == ["ActionRefused", "str"]
        sagas.finish(saga)
        assert sagas.step(saga, "one") in {"COMPENSATED", "PARKED"}


def test_a_deadline_meets_the_runner(sagas: Sagas, drive: Any) -> None:
    extend = by(actions.extend_deadline, datetime(2999, 1, 1, tzinfo=UTC))
    for saga, one, other in in_turns(extend, drive, prepare=lambda: sagas.start(Short)):
        assert isinstance(one, (str, ActionRefused))
        assert other is None
        sagas.drain()
        assert sagas.value("SELECT outcome FROM sagas WHERE id = %s", [saga]) == "COMPLETED"


def test_a_lease_is_taken_from_whoever_writes(sagas: Sagas, drive: Any) -> None:
    for saga, one, other in in_turns(
        by(actions.release_lease), drive, prepare=lambda: sagas.start(Short)
    ):
        assert isinstance(one, (str, ActionRefused))
        assert other is None
        sagas.expire()
        sagas.drain()
        assert sagas.value("SELECT outcome FROM sagas WHERE id = %s", [saga]) == "COMPLETED"
        assert (
            sagas.value(
                "SELECT count(*) FROM saga_steps WHERE saga_id = %s AND state = 'COMPLETED'", [saga]
            )
            == 2
        )


def test_two_starts_with_one_key_are_one_saga(sagas: Sagas) -> None:
    sagas.start(Short)

    def begin(key: str) -> uuid.UUID:
        return start("SHORT", key=key)

    for _key, one, other in in_turns(begin, begin, prepare=lambda: str(uuid.uuid4())):
        assert one == other


def test_a_resource_is_had_by_one(sagas: Sagas) -> None:
    sagas.start(Short)

    def begin(resource: str) -> uuid.UUID:
        return start("SHORT", locks=[("order", resource)])

    for _resource, one, other in in_turns(begin, begin, prepare=lambda: str(uuid.uuid4())):
        assert kinds(one, other) == [ResourceLocked.__name__, "UUID"]
