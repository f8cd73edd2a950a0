"""What a person may decide about sagas and their steps, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from hodei.admin.actions import Action, Judge, OutputField
from sagas.exceptions import ActionRefused, SagaInvalid, SagaNotFound
from sagas.services import actions

NEVER = "never"
LENGTHS = {
    "1h": ("1 hour from now", timedelta(hours=1)),
    "6h": ("6 hours from now", timedelta(hours=6)),
    "1d": ("1 day from now", timedelta(days=1)),
    "7d": ("7 days from now", timedelta(days=7)),
    "30d": ("30 days from now", timedelta(days=30)),
}

_COMMON: dict[str, Any] = {
    "permission": "sagas.operate_saga",
    "refusals": (ActionRefused, SagaInvalid, SagaNotFound),
}
_OF_STEP: dict[str, Any] = {**_COMMON, "part": "step", "many": False}


def _until() -> forms.Field:
    def instant(chosen: str) -> datetime | None:
        return None if chosen == NEVER else timezone.now() + LENGTHS[chosen][1]

    lengths = [(key, words) for key, (words, _) in LENGTHS.items()]
    return forms.TypedChoiceField(
        label="Deadline",
        choices=[*lengths, (NEVER, "None: as long as it takes")],
        coerce=instant,
        empty_value=None,
    )


def _output() -> forms.Field:
    return OutputField(
        help_text="JSON, as the step would have returned it; what follows reads it. Empty: null."
    )


SAGA_ACTIONS = (
    Action(
        name="pause",
        label="Pause",
        done="paused",
        about="It rests at the next border of a step until somebody resumes it. Its deadline "
        "goes on.",
        perform=actions.pause,
        **_COMMON,
    ),
    Action(
        name="resume",
        label="Resume",
        done="resumed",
        about="A paused saga goes on.",
        perform=actions.resume,
        **_COMMON,
    ),
    Action(
        name="cancel",
        label="Cancel",
        done="cancelled",
        about="It turns back at the next border of a step, what was done is compensated, and it "
        "ends CANCELLED.",
        perform=actions.cancel,
        **_COMMON,
    ),
    Action(
        name="compensate",
        label="Turn back",
        done="turned back",
        about="What was done is compensated from here on, and it ends COMPENSATED.",
        perform=actions.compensate,
        **_COMMON,
    ),
    Action(
        name="extend_deadline",
        label="Change deadline",
        done="given another deadline",
        about="Until then it may go forward; after it, it turns back.",
        perform=actions.extend_deadline,
        fields={"until": _until},
        **_COMMON,
    ),
    Action(
        name="retry_compensation",
        label="Retry compensation",
        done="compensated once more",
        about="The compensations of all its PARKED steps are called once more.",
        perform=actions.retry_compensation,
        **_COMMON,
    ),
    Action(
        name="release_lease",
        label="Release lease",
        done="released",
        about="It is taken from its runner and another one may have it. Only for a runner that "
        "hangs: what it is calling now is UNKNOWN then.",
        perform=actions.release_lease,
        **_COMMON,
    ),
    Action(
        name="retry_step",
        label="Retry",
        done="retried",
        about="The step is tried now, whatever it waits for.",
        perform=actions.retry_step,
        **_OF_STEP,
    ),
    Action(
        name="skip_step",
        label="Skip",
        done="skipped",
        about="The saga goes on as if the step had been done with this output. If it turns back "
        "later, the step is compensated as one that was done.",
        perform=actions.skip_step,
        fields={"output": _output},
        **_OF_STEP,
    ),
    Action(
        name="mark_done",
        label="Mark done",
        done="marked as done",
        about="You have found out that the step was done, with this output.",
        perform=actions.mark_done,
        fields={"output": _output},
        **_OF_STEP,
    ),
    Action(
        name="mark_not_done",
        label="Mark not done",
        done="marked as not done",
        about="You have found out that the step was not done. It is tried again, or has failed.",
        perform=actions.mark_not_done,
        **_OF_STEP,
    ),
    Action(
        name="retry_step_compensation",
        label="Retry compensation",
        done="compensated once more",
        about="The compensation of this step is called once more.",
        perform=actions.retry_compensation,
        **_OF_STEP,
    ),
    Action(
        name="mark_handled",
        label="Mark handled",
        done="marked as handled",
        about="You have undone the step by hand. With the last one that is PARKED, the saga ends "
        "as compensated.",
        perform=actions.mark_handled,
        **_OF_STEP,
    ),
)


def judge_sagas(rows: Sequence[Any], using: str) -> Judge:
    """By the rules of the services."""
    known = actions.offers(rows, using=using) if rows else {}

    def judge(action: Action, row: Any, step: str | None) -> str | None:
        return known[row.pk].why_not(action.perform.__name__, step)

    return judge
