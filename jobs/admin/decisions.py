"""What a person may decide about jobs, workers and providers, and when."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from django import forms
from django.db.models import QuerySet

from hodei.admin.actions import Action, OutputField
from hodei.redaction import REDACTED
from jobs.models import Provider, Schedule
from jobs.services import decisions, providers, schedules, workers
from jobs.services.lifecycle import JobNotFound, JobStateConflict
from jobs.services.providers import (
    MOST_PRIORITY,
    MOST_WORKERS,
    ProviderConflict,
    ProviderInvalid,
    ProviderNotFound,
)
from jobs.services.schedules import ScheduleNotFound
from jobs.services.workers import WorkerNotFound, WorkerStateConflict
from jobs.spec import HIGHEST_PRIORITY, LOWEST_PRIORITY, JobInvalid
from jobs.states import (
    JOB_DECISIONS,
    PROVIDER_TRANSITIONS,
    WORKER_TRANSITIONS,
    ProviderStatus,
    WorkerState,
)
from outbox.events import EventInvalid
from outbox.services.dead_letters.resending import merge_patch

_JOB: dict[str, Any] = {
    "permission": "jobs.operate_job",
    "refusals": (JobNotFound, JobStateConflict, JobInvalid),
}
_WORKER: dict[str, Any] = {
    "permission": "jobs.operate_worker",
    "refusals": (WorkerNotFound, WorkerStateConflict),
}
_PROVIDER: dict[str, Any] = {
    "permission": "jobs.operate_provider",
    "refusals": (ProviderNotFound, ProviderConflict, ProviderInvalid, EventInvalid),
}

_SCHEDULE: dict[str, Any] = {
    "permission": "jobs.change_schedule",
    "refusals": (ScheduleNotFound,),
}


def _refuse_redacted(changes: object) -> None:
    """What the page has hidden is not written back in place of the secret."""
    if REDACTED in json.dumps(changes, ensure_ascii=False):
        raise ProviderInvalid(
            f"config holds {REDACTED}, as pages show secrets. Leave out what is to stay as it is."
        )


def _change(
    provider: uuid.UUID,
    *,
    config: Any,
    priority: int | None,
    max_workers: int | None,
    actor: str,
    reason: str,
    using: str,
) -> str:
    if config is None and priority is None and max_workers is None:
        raise ProviderInvalid("Nothing is given that is to be different.")
    row = Provider.objects.using(using).select_for_update().filter(pk=provider).first()
    if row is None:
        raise ProviderNotFound(provider)
    if config is not None:
        if not isinstance(config, dict):
            raise ProviderInvalid("The changes of the configuration are a JSON object.")
        _refuse_redacted(config)
        config = merge_patch(row.config, config)
    providers.save(
        provider,
        name=row.name,
        provider_type=row.provider_type,
        config=row.config if config is None else config,
        priority=row.priority if priority is None else priority,
        max_workers=row.max_workers if max_workers is None else max_workers,
        tags=row.tags,
        metadata=row.metadata,
        actor=actor,
        reason=reason,
        using=using,
    )
    return "Changed. Workers that it has already go on as they are."


def _config() -> OutputField:
    return OutputField(
        label="Configuration",
        help_text="What is to be different in it, as a JSON object; null takes a key away, and the "
        "rest stays as it is, secrets included (RFC 7396). Empty: all of it stays.",
    )


def _number(least: int, most: int, about: str) -> Callable[[], forms.Field]:
    return lambda: forms.IntegerField(
        required=False,
        min_value=least,
        max_value=most,
        help_text=f"{about} {least:,} to {most:,}. Empty: as it is.",
    )


def _drain(worker: uuid.UUID, **given: Any) -> str:
    workers.drain(worker, **given)
    return "It finishes what it runs, takes nothing more, and ends."


def _terminate(worker: uuid.UUID, **given: Any) -> str:
    jobs = workers.terminate(worker, **given)
    return f"Ended, and its jobs given back: {jobs}."


def _enable(provider: uuid.UUID, **given: Any) -> str:
    return _changed(ProviderStatus.ACTIVE, changed=providers.enable(provider, **given))


def _disable(provider: uuid.UUID, **given: Any) -> str:
    return _changed(ProviderStatus.DISABLED, changed=providers.disable(provider, **given))


def _changed(status: ProviderStatus, *, changed: bool) -> str:
    return f"It is {status} now." if changed else f"It was {status} already; nothing was changed."


def _switch(change: Callable[..., bool], now: str) -> Callable[..., str]:
    """The service, which goes by the name, for the number of the row."""

    def perform(number: int, *, using: str, **given: Any) -> str:
        names = Schedule.objects.using(using).filter(pk=number).values_list("name", flat=True)
        name = names.first()
        if name is None:
            raise ScheduleNotFound(number)
        if not change(name, using=using, **given):
            return f"It was {now} already; nothing was changed."
        return f"It is {now} now."

    return perform


def _priority() -> forms.Field:
    return forms.IntegerField(
        min_value=LOWEST_PRIORITY,
        max_value=HIGHEST_PRIORITY,
        help_text=(
            f"{LOWEST_PRIORITY} to {HIGHEST_PRIORITY}; what is higher runs first in its queue."
        ),
    )


def _among(name: str) -> Callable[[QuerySet[Any]], QuerySet[Any]]:
    """The jobs of a list in states from which this is possible."""
    states = [state.value for state in JOB_DECISIONS[name]]
    return lambda rows: rows.filter(state__in=states)


JOB_ACTIONS = (
    Action(
        name="cancel",
        label="Cancel",
        done="cancelled",
        about="A job that has not begun never begins. One that runs is stopped by its worker, "
        "which hears of it within ten seconds.",
        perform=decisions.cancel,
        among=_among("cancel"),
        **_JOB,
    ),
    Action(
        name="retry",
        label="Retry",
        done="retried",
        about="A job that has failed runs again, at least once more, however many attempts it "
        "has spent.",
        perform=decisions.retry,
        among=_among("retry"),
        perform_many=decisions.retry_these,
        **_JOB,
    ),
    Action(
        name="hold",
        label="Hold",
        done="held",
        about="A job that has not begun does not begin until somebody releases it.",
        perform=decisions.hold,
        among=_among("hold"),
        **_JOB,
    ),
    Action(
        name="release",
        label="Release",
        done="released",
        about="A job that was held goes back into its queue.",
        perform=decisions.release,
        among=_among("release"),
        **_JOB,
    ),
    Action(
        name="set_priority",
        label="Change priority",
        done="given another priority",
        about="A job that waits goes before others of its queue, or after them.",
        perform=decisions.set_priority,
        fields={"priority": _priority},
        among=_among("set_priority"),
        **_JOB,
    ),
    Action(
        name="delete",
        label="Delete",
        done="deleted",
        about="The job is removed with all that belongs to it: attempts, logs, result. The audit "
        "stays. There is no way back.",
        perform=decisions.delete,
        **{**_JOB, "permission": "jobs.delete_job"},
    ),
)

WORKER_ACTIONS = (
    Action(
        name="drain",
        label="Drain",
        done="drained",
        about="It finishes what it runs, takes nothing more, and ends.",
        perform=_drain,
        **_WORKER,
    ),
    Action(
        name="terminate",
        label="Terminate",
        done="ended",
        about="It is ended now and its jobs are given to others. Whatever it still does is not "
        "written down.",
        perform=_terminate,
        **_WORKER,
    ),
)

PROVIDER_ACTIONS = (
    Action(
        name="enable",
        label="Enable",
        done="enabled",
        about="It may make workers again.",
        perform=_enable,
        **_PROVIDER,
    ),
    Action(
        name="disable",
        label="Disable",
        done="disabled",
        about="It makes no more workers until somebody enables it. Those that it has go on.",
        perform=_disable,
        **_PROVIDER,
    ),
    Action(
        name="change",
        label="Change",
        done="changed",
        about="How many workers it may have, which provider is chosen first, and what it makes "
        "workers by. Secrets that stay are not shown, and need not be given.",
        perform=_change,
        fields={
            "priority": _number(-MOST_PRIORITY, MOST_PRIORITY, "The highest is chosen first."),
            "max_workers": _number(1, MOST_WORKERS, "Workers that may live at once."),
            "config": _config,
        },
        many=False,
        **{**_PROVIDER, "permission": "jobs.change_provider"},
    ),
)

SCHEDULE_ACTIONS = (
    Action(
        name="enable",
        label="Enable",
        done="enabled",
        about="It is due again, from now on. What it has missed is not made up for.",
        perform=_switch(schedules.enable, "enabled"),
        **_SCHEDULE,
    ),
    Action(
        name="disable",
        label="Disable",
        done="disabled",
        about="It enqueues nothing more until somebody enables it. Jobs of it that are there stay.",
        perform=_switch(schedules.disable, "disabled"),
        **_SCHEDULE,
    ),
)


#: What each of them is for.
_FOR = {
    "cancel": "a job that has not ended",
    "retry": "a job that has failed",
    "hold": "a job that has not begun",
    "release": "a job that is held",
    "set_priority": "a job that waits or is held",
    "delete": "a job that no worker holds",
    "drain": "a worker that takes jobs",
    "terminate": "a worker that has not ended",
    "enable": "a provider that is not ACTIVE",
    "disable": "a provider that is not DISABLED",
}


def judge_job(action: Action, row: Any, _part: str | None) -> str | None:
    """By the table of decisions."""
    return _unless(action, row.state, row.state in JOB_DECISIONS[action.name])


def judge_worker(action: Action, row: Any, _part: str | None) -> str | None:
    """By the table of transitions."""
    to = WorkerState.DRAINING if action.name == "drain" else WorkerState.TERMINATED
    return _unless(action, row.state, to in WORKER_TRANSITIONS[WorkerState(row.state)])


def judge_provider(action: Action, row: Any, _part: str | None) -> str | None:
    """By the table of transitions."""
    if action.name == "change":
        return None
    to = ProviderStatus.ACTIVE if action.name == "enable" else ProviderStatus.DISABLED
    return _unless(action, row.status, to in PROVIDER_TRANSITIONS[ProviderStatus(row.status)])


def judge_schedule(action: Action, row: Any, _part: str | None) -> str | None:
    """By whether it is enabled."""
    if row.enabled is not (action.name == "enable"):
        return None
    return f"It is {'enabled' if row.enabled else 'disabled'} already."


def _unless(action: Action, state: str, is_possible: bool) -> str | None:  # noqa: FBT001
    return None if is_possible else f"It is {state}; this is for {_FOR[action.name]}."
