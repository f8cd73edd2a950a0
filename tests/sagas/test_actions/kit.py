from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from sagas.definition import (
    UNSURE,
    Later,
    Retry,
    Saga,
    Step,
    StepContext,
    StepFailed,
    Unknown,
)
from sagas.models import Saga as SagaModel
from sagas.models import SagaAuditEvent, SagaStep
from sagas.services import actions
from sagas.services.start import start
from sagas.testing import Ran, run_sagas, seen

WHY: dict[str, Any] = {"reason": "the provider says so", "actor": "ada"}


#: What the steps do in this test, by their names: anything else is done.
world: dict[str, Any] = {}


called: list[str] = []


def act(context: StepContext) -> Any:
    called.append(context.step)
    return _do(context.step)


def undo(context: StepContext) -> None:
    called.append(f"undo {context.step}")
    _do(f"undo {context.step}")


def verify(context: StepContext) -> Any:
    called.append(f"verify {context.step}")
    return world.get(f"verify {context.step}", UNSURE)


def _do(what: str) -> Any:
    told = world.get(what)
    if isinstance(told, Exception):
        raise told
    return told


class Order(Saga):
    kind = "ORDER_ACTED"
    deadline = timedelta(hours=1)
    steps = (
        Step("reserve", act, undo, local=True, retry=Retry(attempts=2)),
        Step("charge", act, undo, retry=Retry(attempts=2), compensation_retry=Retry(attempts=2)),
        Step("check", act, undo, verify=verify, verify_retry=Retry(attempts=2)),
        Step("ship", act, pivot=True),
        Step("thank", act, verify=verify, verify_retry=Retry(attempts=2)),
    )


def new(later: bool = True, **steps: Any) -> uuid.UUID:
    """A saga that has run as far as it goes in this world."""
    world.update({name.replace("_", " "): told for name, told in steps.items()})
    saga = start(Order.kind, {})
    run_sagas(later=later)
    return saga


def parked() -> uuid.UUID:
    return new(check=StepFailed("no"), undo_charge=StepFailed("no", retry=False))


def unknown_pivot() -> uuid.UUID:
    return new(ship=Unknown("?"))


def unknown_past() -> uuid.UUID:
    return new(thank=Unknown("?"))


def failed_past() -> uuid.UUID:
    return new(thank=StepFailed("no", retry=False))


def retrying() -> uuid.UUID:
    return new(later=False, charge=StepFailed("not yet"))


def waiting() -> uuid.UUID:
    return new(later=False, charge=Later(60))


def pending() -> uuid.UUID:
    return start(Order.kind, {})


def held() -> uuid.UUID:
    saga = retrying()
    SagaModel.objects.filter(pk=saga).update(
        lease_owner="another", lease_epoch=7, lease_until=timezone.now() + timedelta(minutes=1)
    )
    return saga


ACTIONS: dict[str, Callable[[uuid.UUID], str]] = {
    "pause": lambda saga: actions.pause(saga, **WHY),
    "resume": lambda saga: actions.resume(saga, **WHY),
    "cancel": lambda saga: actions.cancel(saga, **WHY),
    "compensate": lambda saga: actions.compensate(saga, **WHY),
    "extend": lambda saga: actions.extend_deadline(saga, timezone.now() + timedelta(days=1), **WHY),
    "release": lambda saga: actions.release_lease(saga, **WHY),
    "retry charge": lambda saga: actions.retry_step(saga, "charge", **WHY),
    "retry ship": lambda saga: actions.retry_step(saga, "ship", **WHY),
    "retry thank": lambda saga: actions.retry_step(saga, "thank", **WHY),
    "skip charge": lambda saga: actions.skip_step(saga, "charge", {"id": 7}, **WHY),
    "skip thank": lambda saga: actions.skip_step(saga, "thank", **WHY),
    "done ship": lambda saga: actions.mark_done(saga, "ship", [1], **WHY),
    "done thank": lambda saga: actions.mark_done(saga, "thank", **WHY),
    "not done ship": lambda saga: actions.mark_not_done(saga, "ship", **WHY),
    "not done thank": lambda saga: actions.mark_not_done(saga, "thank", **WHY),
    "retry compensation": lambda saga: actions.retry_compensation(saga, **WHY),
    "handled charge": lambda saga: actions.mark_handled(saga, "charge", **WHY),
}


def stored(saga: uuid.UUID) -> Any:
    return (
        list(SagaModel.objects.filter(pk=saga).values()),
        list(SagaStep.objects.filter(saga_id=saga).order_by("step_order").values()),
        SagaAuditEvent.objects.filter(saga_id=saga).count(),
    )


def after(saga: uuid.UUID, **steps: Any) -> Ran:
    """Let it run on, in a world that is different now."""
    world.clear()
    called.clear()
    world.update({name.replace("_", " "): told for name, told in steps.items()})
    run_sagas(later=True)
    return seen(saga)
