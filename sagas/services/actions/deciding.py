"""The frame of each action: the saga is locked, the reason checked, the audit written."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction

from hodei.redaction import redact, redact_text
from hodei.sql import statement
from hodei.values import identifier, shown, unstorable
from jobs.retry import result_text
from sagas import registry
from sagas.definition import Saga, Step, steps_hash
from sagas.exceptions import ActionRefused, SagaInvalid, SagaNotFound
from sagas.loading import saga_row, step_row
from sagas.models import Saga as SagaModel
from sagas.models import SagaStep
from sagas.plan import is_past_pivot
from sagas.records import SagaRow, StepRow
from sagas.states import SAGA_LIVE, StepState
from sagas.wakeup import WAKE

LONGEST_REASON = 1_000
LONGEST_ACTOR = 255


@dataclass(slots=True, kw_only=True)
class Decision:
    """A saga about which somebody decides: its row is locked until the transaction ends."""

    saga: SagaRow
    steps: tuple[StepRow, ...]
    #: A runner has it now, whose name this is.
    held_by: str | None
    hash: str | None
    now: Any
    reason: str
    actor: str
    using: str

    @property
    def is_live(self) -> bool:
        return self.saga.state in SAGA_LIVE

    def definition(self) -> type[Saga]:
        """Raises ActionRefused where this process does not know it, as it was when the saga was
        started."""
        try:
            known = registry.definition(self.saga.kind, self.saga.version)
        except registry.SagaNotRegistered:
            raise ActionRefused(
                f"{self.saga.kind} version {self.saga.version} is not registered here, so nobody "
                "can say what its steps are. Do it where the code has that version."
            ) from None
        if self.hash != steps_hash(known):
            raise ActionRefused(
                f"{self.saga.kind} version {self.saga.version} has other steps here than when the "
                "saga was started. Do it where the code has those."
            )
        return known

    def require_live(self) -> None:
        if not self.is_live:
            raise ActionRefused(f"The saga has ended: it is {self.saga.state}.")

    def require_free(self) -> None:
        """No runner may be in the middle of a step while somebody changes it."""
        if self.held_by is not None:
            raise ActionRefused(
                f"The runner {self.held_by} works on it. Pause the saga, and try again when it "
                "rests; or release its lease, if that runner is gone."
            )

    def step(self, name: str) -> StepRow:
        for row in self.steps:
            if row.name == name:
                return row
        known = ", ".join(row.name for row in self.steps) or "none"
        raise ActionRefused(f"The saga has no step {shown(name)}; it has {known}.")

    def definition_of(self, row: StepRow) -> Step:
        return self.definition().steps[row.order]

    @property
    def is_past_pivot(self) -> bool:
        return is_past_pivot(self.definition(), self.steps)

    def change_saga(self, **values: Any) -> None:
        """Also takes it from whoever had it: what they write from here on does nothing,
        and that they are gone counts no more."""
        SagaModel.objects.using(self.using).filter(pk=self.saga.id).update(
            **{
                "lease_epoch": self.saga.epoch + 1,
                "lease_owner": None,
                "lease_until": None,
                "lost_leases": 0,
                "updated_at": self.now,
                **values,
            }
        )

    def ask(self, **values: Any) -> None:
        """Write a request, which a runner that has the saga meets at the next border of a step;
        without one it is due at once."""
        due = {} if self.held_by is not None else {"due_at": self.now}
        SagaModel.objects.using(self.using).filter(pk=self.saga.id).update(
            **{"updated_at": self.now, **due, **values}
        )

    def change_step(self, row: StepRow, **values: Any) -> None:
        SagaStep.objects.using(self.using).filter(pk=row.id).update(
            **{"due_at": None, "timeout_at": None, "updated_at": self.now, **values}
        )

    def tell(self, event: str, message: str, step: str | None = None, **facts: Any) -> str:
        """The audit event; returns the message."""
        payload = {"reason": self.reason, "actor": self.actor, **redact(facts)}
        with connections[self.using].cursor() as cursor:
            cursor.execute(
                "INSERT INTO saga_audit_events (id, saga_id, event_type, step_name, message, "
                "payload, occurred_at) VALUES (gen_random_uuid(), %s, %s, %s, %s, %s::jsonb, "
                "clock_timestamp())",
                [self.saga.id, event, step, message, json.dumps(payload, default=str)],
            )
        return message


@contextmanager
def deciding(saga: uuid.UUID, reason: str, actor: str, using: str) -> Iterator[Decision]:
    """Lock the saga; what is done in the block is done together, and wakes a runner."""
    checked = _text("reason", reason, LONGEST_REASON)
    who = _text("actor", actor, LONGEST_ACTOR)
    if identifier(saga) is None:
        raise SagaNotFound(saga)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(statement("sagas", "lock"), {"id": saga})
        row = cursor.fetchone()
        if row is None:
            raise SagaNotFound(saga)
        cursor.execute(statement("sagas", "steps"), {"ids": [saga]})
        steps = tuple(step_row(one) for one in cursor.fetchall())
        held, owner, steps_hash, now = row[14:]
        yield Decision(
            saga=saga_row(row),
            steps=steps,
            held_by=owner if held else None,
            hash=steps_hash,
            now=now,
            reason=redact_text(checked),
            actor=who,
            using=using,
        )
        cursor.execute(statement("sagas", "wake"), WAKE)


def refuse_state(row: StepRow, allowed: frozenset[StepState], what: str) -> None:
    """Raises ActionRefused unless the step is in one of these states."""
    if row.state not in allowed:
        names = " or ".join(sorted(state.value for state in allowed))
        raise ActionRefused(
            f"{row.name} is {row.state}; only a step that is {names} can be {what}."
        )


def stored_output(output: Any) -> Any:
    """What a person gives as the output of a step, as it will be read. Raises SagaInvalid."""
    try:
        text = result_text(output)
    except ValueError as error:
        raise SagaInvalid(str(error).replace("The result", "The output")) from error
    return None if text is None else json.loads(text)


def _text(name: str, given: object, longest: int) -> str:
    if not isinstance(given, str) or not given.strip():
        raise SagaInvalid(f"{name} is {shown(given)}; say it in words, the audit keeps it.")
    if len(given) > longest or "\0" in given:
        raise SagaInvalid(f"{name} has {len(given):,} characters; at most {longest:,}, and no NUL.")
    wrong = unstorable(given)
    if wrong is not None:
        raise SagaInvalid(f"{name} {wrong}.")
    return given
