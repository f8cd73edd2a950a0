from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction
from django.utils import timezone

from hodei.actor import actor
from sagas.definition import (
    StepFailed,
)
from sagas.exceptions import ActionRefused
from sagas.management.commands import sagas_act
from sagas.models import Saga as SagaModel
from sagas.models import SagaAuditEvent, SagaStep
from sagas.services import actions
from tests.sagas.test_actions.kit import (
    ACTIONS,
    WHY,
    failed_past,
    held,
    new,
    parked,
    pending,
    retrying,
    stored,
    unknown_past,
    unknown_pivot,
    waiting,
)

pytestmark = pytest.mark.django_db


def undoing() -> uuid.UUID:
    return new(later=False, check=StepFailed("no"), undo_charge=StepFailed("not yet"))


def lost_in_the_pivot() -> uuid.UUID:
    """Its runner is gone, and no other one has looked yet."""
    saga = unknown_pivot()
    SagaStep.objects.filter(saga_id=saga, step_name="ship").update(state="IN_PROGRESS")
    SagaModel.objects.filter(pk=saga).update(incident=None, due_at=timezone.now())
    return saga


def completed() -> uuid.UUID:
    return new()


def paused() -> uuid.UUID:
    saga = retrying()
    actions.pause(saga, **WHY)
    return saga


#: The same as they are offered: the service, and the step.
OFFERED: dict[str, tuple[str, str | None]] = {
    "pause": ("pause", None),
    "resume": ("resume", None),
    "cancel": ("cancel", None),
    "compensate": ("compensate", None),
    "extend": ("extend_deadline", None),
    "release": ("release_lease", None),
    "retry charge": ("retry_step", "charge"),
    "retry ship": ("retry_step", "ship"),
    "retry thank": ("retry_step", "thank"),
    "skip charge": ("skip_step", "charge"),
    "skip thank": ("skip_step", "thank"),
    "done ship": ("mark_done", "ship"),
    "done thank": ("mark_done", "thank"),
    "not done ship": ("mark_not_done", "ship"),
    "not done thank": ("mark_not_done", "thank"),
    "retry compensation": ("retry_compensation", None),
    "handled charge": ("mark_handled", "charge"),
}


#: In which situation which actions are allowed; all others are refused.
ALLOWED: dict[Callable[[], uuid.UUID], set[str]] = {
    pending: {"pause", "cancel", "extend"},
    retrying: {"pause", "cancel", "compensate", "extend", "retry charge", "skip charge"},
    waiting: {"pause", "cancel", "compensate", "extend", "retry charge", "skip charge"},
    held: {"pause", "cancel", "extend", "release"},
    paused: {"resume", "cancel", "compensate", "extend", "retry charge", "skip charge"},
    undoing: {"pause", "retry charge"},
    parked: {"retry compensation", "handled charge"},
    unknown_pivot: {"pause", "cancel", "extend", "done ship", "not done ship"},
    lost_in_the_pivot: {"pause", "cancel", "extend"},
    unknown_past: {"pause", "extend", "retry thank", "skip thank", "done thank", "not done thank"},
    failed_past: {"pause", "extend", "retry thank", "skip thank"},
    completed: set(),
}


@pytest.mark.parametrize("situation", ALLOWED, ids=lambda one: one.__name__)
def test_each_action_in_each_situation(situation: Callable[[], uuid.UUID]) -> None:
    saga = situation()
    before = stored(saga)

    for action, do in ACTIONS.items():
        with transaction.atomic():
            if action in ALLOWED[situation]:
                allow(saga, action, do(saga), before)
            else:
                refuse(saga, action, do, before)
            transaction.set_rollback(True)


#: The same as they are typed.
TYPED: dict[str, tuple[str, ...]] = {
    "pause": ("pause",),
    "resume": ("resume",),
    "cancel": ("cancel",),
    "compensate": ("compensate",),
    "extend": ("extend", "--until", "1d"),
    "release": ("release",),
    "retry charge": ("retry", "--step", "charge"),
    "retry ship": ("retry", "--step", "ship"),
    "retry thank": ("retry", "--step", "thank"),
    "skip charge": ("skip", "--step", "charge", "--output", '{"id": 7}'),
    "skip thank": ("skip", "--step", "thank"),
    "done ship": ("mark-done", "--step", "ship", "--output", "[1]"),
    "done thank": ("mark-done", "--step", "thank"),
    "not done ship": ("mark-not-done", "--step", "ship"),
    "not done thank": ("mark-not-done", "--step", "thank"),
    "retry compensation": ("retry-compensation",),
    "handled charge": ("mark-handled", "--step", "charge"),
}


def typed(saga: uuid.UUID, action: str) -> str:
    """What the command says. Raises CommandError."""
    said = io.StringIO()
    call_command("sagas_act", str(saga), *TYPED[action], "--reason", WHY["reason"], stdout=said)
    return said.getvalue().strip()


@pytest.mark.parametrize("situation", ALLOWED, ids=lambda one: one.__name__)
def test_a_command_does_what_the_service_does(situation: Callable[[], uuid.UUID]) -> None:
    saga = situation()
    before = stored(saga)

    for action in ACTIONS:
        with transaction.atomic():
            if action in ALLOWED[situation]:
                said = typed(saga, action)
                assert said.endswith(".")
                allow(saga, action, said.removesuffix("."), before, actor())
            else:
                with pytest.raises(CommandError, match="Nothing was changed") as refused:
                    typed(saga, action)
                assert refused.value.returncode == 1
                assert stored(saga) == before, action
            transaction.set_rollback(True)


def test_every_action_is_typed_in_some_situation() -> None:
    allowed = set().union(*ALLOWED.values())

    assert {TYPED[action][0] for action in allowed} == set(sagas_act.ACTIONS)


@pytest.mark.parametrize("situation", ALLOWED, ids=lambda one: one.__name__)
def test_what_is_offered_is_what_is_allowed(situation: Callable[[], uuid.UUID]) -> None:
    saga = situation()
    before = stored(saga)

    found = actions.offers([SagaModel.objects.get(pk=saga)])[saga]

    for action, do in ACTIONS.items():
        why = found.why_not(*OFFERED[action])
        assert (why is None) is (action in ALLOWED[situation]), action
        if why is not None:
            with pytest.raises(ActionRefused) as refused:
                do(saga)
            assert str(refused.value) == why, action
    assert stored(saga) == before


def test_offers_cost_one_query_for_any_number(django_assert_num_queries: Any) -> None:
    sagas = list(SagaModel.objects.filter(pk__in=[pending(), retrying(), parked()]))

    with django_assert_num_queries(1):
        found = actions.offers(sagas)

    assert set(found) == {saga.pk for saga in sagas}


def test_what_needs_the_definition_is_refused_where_it_has_other_steps() -> None:
    saga = retrying()
    SagaModel.objects.filter(pk=saga).update(steps_hash="f" * 64)

    with pytest.raises(ActionRefused, match="has other steps here than when the saga was started"):
        actions.retry_step(saga, "charge", **WHY)


def allow(saga: uuid.UUID, action: str, said: str, before: Any, actor: str = WHY["actor"]) -> None:
    told = SagaAuditEvent.objects.filter(saga_id=saga).order_by("-occurred_at")[0]
    assert told.message.removesuffix(".") == said.removesuffix("."), action
    assert told.payload["reason"] == WHY["reason"], action
    assert told.payload["actor"] == actor, action
    assert stored(saga) != before, action


def refuse(saga: uuid.UUID, action: str, do: Callable[[uuid.UUID], str], before: Any) -> None:
    try:
        do(saga)
    except ActionRefused as refused:
        assert str(refused).endswith("."), action  # noqa: PT017
        assert stored(saga) == before, action
    else:
        raise AssertionError(f"{action} is allowed")
