"""What could be decided about sagas now, for whoever offers it. Read-only, and without a lock: when
it is done, the action itself is asked again."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from sagas.exceptions import ActionRefused
from sagas.models import Saga, SagaStep
from sagas.records import SagaRow, StepRow
from sagas.services.actions import rules
from sagas.services.actions.deciding import Decision
from sagas.states import SagaState, StepState

#: Columns of a step that rules ask for.
_ASKED = (
    *("id", "waits", "retry_count", "verifications", "compensation_attempts"),
    *("started_at", "completed_at", "due_at", "timeout_at", "deadline_at"),
)


@dataclass(frozen=True, slots=True)
class Offers:
    """One saga, and what stands against each action."""

    decision: Decision

    def why_not(self, action: str, step: str | None = None) -> str | None:
        """What stands against an action of ``sagas.services.actions``, in words; None: nothing."""
        try:
            if step is None:
                rules.OF_SAGAS[action](self.decision)
            else:
                rules.OF_STEPS[action](self.decision, step)
        except ActionRefused as error:
            return str(error)
        return None


def offers(sagas: Sequence[Saga], *, using: str = DEFAULT_DB_ALIAS) -> dict[uuid.UUID, Offers]:
    """For each saga. One query, however many there are."""
    now = timezone.now()
    steps: defaultdict[uuid.UUID, list[StepRow]] = defaultdict(list)
    rows = SagaStep.objects.using(using).filter(saga_id__in=[saga.pk for saga in sagas])
    names = ("saga_id", "step_name", "step_order", "state", *_ASKED)
    for row in rows.order_by("saga_id", "step_order").values(*names):
        steps[row["saga_id"]].append(
            StepRow(
                name=row["step_name"],
                order=row["step_order"],
                state=StepState(row["state"]),
                **{name: row[name] for name in _ASKED},
            )
        )
    return {saga.pk: Offers(_decision(saga, tuple(steps[saga.pk]), now, using)) for saga in sagas}


def _decision(saga: Saga, steps: tuple[StepRow, ...], now: datetime, using: str) -> Decision:
    is_held = saga.lease_owner is not None and saga.lease_until and saga.lease_until > now
    return Decision(
        saga=SagaRow(
            id=saga.pk,
            kind=saga.saga_type,
            version=saga.definition_version,
            state=SagaState(saga.state),
            input=None,
            epoch=saga.lease_epoch,
            deadline_at=saga.deadline_at,
            pause_requested_at=saga.pause_requested_at,
            cancel_requested_at=saga.cancel_requested_at,
        ),
        steps=steps,
        held_by=saga.lease_owner if is_held else None,
        hash=saga.steps_hash,
        now=now,
        reason="",
        actor="",
        using=using,
    )
