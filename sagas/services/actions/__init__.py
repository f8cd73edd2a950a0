"""What people decide about sagas: each with a reason, in one transaction with its audit event.

Every function joins the caller's transaction and returns what was done, in words. It raises
SagaNotFound, ActionRefused (with what is allowed instead) and SagaInvalid; nothing is changed then.

Those that change steps refuse while a runner works on the saga: pause it, and it rests as soon as
what is being called came back.

``offers`` says what stands against each of them, before anybody decides anything.
"""

from __future__ import annotations

from sagas.services.actions.offering import Offers, offers
from sagas.services.actions.sagas import (
    cancel,
    compensate,
    extend_deadline,
    pause,
    release_lease,
    resume,
)
from sagas.services.actions.steps import (
    mark_done,
    mark_handled,
    mark_not_done,
    retry_compensation,
    retry_step,
    skip_step,
)

__all__ = [
    "Offers",
    "cancel",
    "compensate",
    "extend_deadline",
    "mark_done",
    "mark_handled",
    "mark_not_done",
    "offers",
    "pause",
    "release_lease",
    "resume",
    "retry_compensation",
    "retry_step",
    "skip_step",
]
