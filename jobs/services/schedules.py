"""Periodic jobs: schedules that workers look after, by cron expressions in a time zone.

Each due time gets one job, by its idempotency key ``schedule:NAME:INSTANT``: however many look, and
whatever becomes of them. Each function is one transaction of its own, or joins the caller's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction

from hodei.values import check_limit, check_text, member, shown
from jobs import cron as crons
from jobs.cron import CronInvalid
from jobs.models import Schedule
from jobs.services import audit, queue
from jobs.spec import JobInvalid, NewJob
from jobs.states import Missed, Overlap

#: Properties of its jobs that a schedule may set; ``timeout`` is in seconds.
OPTIONS = ("queue", "priority", "timeout", "max_attempts", "correlation_id", "metadata")
LONGEST_NAME = 100
MOST_FOUND = 1_000

_NAME = re.compile(r"[\w.@/-]+( [\w.@/-]+)*")


class ScheduleInvalid(ValueError):  # noqa: N818  (it reads as the fact it states)
    """What was given can be no schedule. Nothing was stored. The text names the field, the value
    and the rule."""


class ScheduleNotFound(LookupError):  # noqa: N818
    """There is no schedule of this name."""

    def __init__(self, name: object) -> None:
        super().__init__(f"There is no schedule {shown(name)}.")


class ScheduleExists(Exception):  # noqa: N818
    """There is a schedule of this name. Nothing was changed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a schedule {name!r} already; remove it, or change it.")


def add(
    name: str,
    *,
    cron: str,
    spec: Mapping[str, Any],
    actor: str,
    time_zone: str = "UTC",
    options: Mapping[str, Any] | None = None,
    overlap: Overlap = Overlap.SKIP,
    missed: Missed = Missed.ONCE,
    using: str = DEFAULT_DB_ALIAS,
) -> datetime | None:
    """Add a schedule; returns when it is due first, or None where it never is.

    Raises ScheduleInvalid, which also says what is wrong with the job, and ScheduleExists.
    """
    columns = _checked(
        name,
        cron=cron,
        time_zone=time_zone,
        spec=spec,
        options={} if options is None else options,
        overlap=overlap,
        missed=missed,
    )
    with connections[using].cursor() as cursor:
        due = _next(columns["cron"], columns["time_zone"], _now(cursor))
    try:
        with transaction.atomic(using=using):
            Schedule.objects.using(using).create(**columns, next_run_at=due)
            _record("ScheduleAdded", name, actor, using, cron=cron, time_zone=time_zone)
    except IntegrityError as error:
        if "job_schedules_name_key" in str(error):
            raise ScheduleExists(name) from error
        raise
    return due


def change(
    name: str, *, actor: str, using: str = DEFAULT_DB_ALIAS, **changes: Any
) -> datetime | None:
    """Change what is given of ``cron``, ``time_zone``, ``spec``, ``options``, ``overlap`` and
    ``missed``; returns when it is due next. With new times it begins anew: what was missed by the
    old ones is not made up for. Of the options those change that are given, and None stands for
    the default.

    Raises ScheduleInvalid and ScheduleNotFound.
    """
    known = {"cron", "time_zone", "spec", "options", "overlap", "missed"}
    if not changes or not known.issuperset(changes):
        raise ScheduleInvalid(
            f"{', '.join(sorted(set(changes) - known)) or 'Nothing'} is given; it may be "
            f"{', '.join(sorted(known))}."
        )
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        found = _lock(name, using)
        if isinstance(options := changes.get("options"), Mapping):
            merged = {**found.options, **options}
            changes["options"] = {key: value for key, value in merged.items() if value is not None}
        columns = _checked(name, **{key: changes.get(key, getattr(found, key)) for key in known})
        due = found.next_run_at
        if {"cron", "time_zone"} & changes.keys():
            due = _next(columns["cron"], columns["time_zone"], _now(cursor))
        Schedule.objects.using(using).filter(pk=found.pk).update(
            **columns, next_run_at=due, updated_at=_now(cursor)
        )
        _record("ScheduleChanged", name, actor, using, changed=sorted(changes))
    return due


def enable(
    name: str, *, actor: str, reason: str | None = None, using: str = DEFAULT_DB_ALIAS
) -> bool:
    """Let it be due again, from now on; returns False where it was so. Raises ScheduleNotFound."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        found = _lock(name, using)
        if found.enabled:
            return False
        now = _now(cursor)
        Schedule.objects.using(using).filter(pk=found.pk).update(
            enabled=True, next_run_at=_next(found.cron, found.time_zone, now), updated_at=now
        )
        _record("ScheduleEnabled", name, actor, using, **_why(reason))
    return True


def disable(
    name: str, *, actor: str, reason: str | None = None, using: str = DEFAULT_DB_ALIAS
) -> bool:
    """Let it not be due until it is enabled; returns False where it was so. Jobs of it that are
    there stay. Raises ScheduleNotFound."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        found = _lock(name, using)
        if not found.enabled:
            return False
        Schedule.objects.using(using).filter(pk=found.pk).update(
            enabled=False, updated_at=_now(cursor)
        )
        _record("ScheduleDisabled", name, actor, using, **_why(reason))
    return True


def remove(name: str, *, actor: str, using: str = DEFAULT_DB_ALIAS) -> None:
    """Remove it; jobs of it that are there stay. Raises ScheduleNotFound."""
    with transaction.atomic(using=using):
        found = _lock(name, using)
        _record("ScheduleRemoved", name, actor, using, cron=found.cron, spec=found.spec)
        Schedule.objects.using(using).filter(pk=found.pk).delete()


def find(
    *, after: str | None = None, limit: int = MOST_FOUND, using: str = DEFAULT_DB_ALIAS
) -> list[Schedule]:
    """Return schedules by name; ``after`` is the last name of the page before. Read-only. Raises
    ValueError for a limit outside 1 to MOST_FOUND."""
    check_limit(limit, MOST_FOUND)
    check_text("after", after)
    rows = Schedule.objects.using(using).order_by("name")
    if after is not None:
        rows = rows.filter(name__gt=after)
    return list(rows[:limit])


def job_of(
    name: str, spec: Mapping[str, Any], options: Mapping[str, Any], instant: datetime
) -> NewJob:
    """The job for one due time. Raises TypeError and JobInvalid for what cannot have been stored by
    us."""
    given = dict(options)
    if given.get("timeout") is not None:
        if isinstance(given["timeout"], bool):
            raise JobInvalid(f"timeout is {given['timeout']}; it is a number of seconds.")
        given["timeout"] = timedelta(seconds=given["timeout"])
    when = instant.astimezone(UTC).isoformat()
    return NewJob(spec=spec, name=name, idempotency_key=f"schedule:{name}:{when}", **given)


def _checked(
    name: object,
    *,
    cron: object,
    time_zone: object,
    spec: Any,
    options: Any,
    overlap: Any,
    missed: Any,
) -> dict[str, Any]:
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ScheduleInvalid(
            f"name is {shown(name)}; it is 1 to {LONGEST_NAME} letters, digits, spaces and _.@/-."
        )
    if not isinstance(options, Mapping) or not set(OPTIONS).issuperset(options):
        raise ScheduleInvalid(f"options is {shown(options)}; it is a dict of {', '.join(OPTIONS)}.")
    try:
        crons.check(cron, time_zone)
        columns = queue.checked(job_of(name, spec, options, datetime(2026, 1, 1, tzinfo=UTC)))
        return {
            "name": name,
            "cron": cron,
            "time_zone": time_zone,
            "spec": json.loads(columns["spec"]),
            "options": dict(options),
            "overlap": member(Overlap, "overlap", overlap),
            "missed": member(Missed, "missed", missed),
        }
    except (CronInvalid, JobInvalid, ValueError, TypeError, OverflowError) as error:
        raise ScheduleInvalid(str(error)) from error


def _next(cron: str, time_zone: str, after: datetime) -> datetime | None:
    return next(crons.times(cron, time_zone, after=after), None)


def _now(cursor: Any) -> datetime:
    """The database's clock decides what is due, so it decides here."""
    cursor.execute("SELECT clock_timestamp()")
    instant: datetime = cursor.fetchone()[0]
    return instant


def _lock(name: object, using: str) -> Schedule:
    found = None
    if isinstance(name, str) and _NAME.fullmatch(name):
        found = Schedule.objects.using(using).select_for_update().filter(name=name).first()
    if found is None:
        raise ScheduleNotFound(name)
    return found


def _why(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"reason": reason}


def _record(event: str, name: str, actor: str, using: str, **facts: Any) -> None:
    audit.record(event, {"schedule": name, **facts}, actor=actor, using=using)
