"""Statements that change jobs, with the records of the audit and the events that tell of it.

They are written in the statement that makes the change, so they are there or not as it is. See
Note [What is told].
"""

from __future__ import annotations

import re
from functools import lru_cache

from hodei.sql import statement
from jobs.conf import Wanted, wanted
from jobs.events import JobEvent
from outbox.wakeup import WAKE

# Note [What is told]
# What stands in /*told ... */ of a statement is read where somebody wants to know of the change,
# and is left out otherwise: the text is chosen once per process. It makes a part ``changed`` (id,
# event, name, correlation_id, trace_parent, facts), and {parts} is where the records and events of
# it follow. Free text has its secrets taken out before it gets there; a name, which is a caller's,
# is left out where it might have one.
#
# The events of a job are in order without a lock of the outbox's: each statement holds the job's
# row, or made it, or holds its place in the queue, before its event gets a number.

_TOLD = re.compile(r"/\*told\s(.*?)\*/", re.DOTALL)
#: What each statement can tell of.
TELLS: dict[str, frozenset[str]] = {
    "enqueue": frozenset({JobEvent.ENQUEUED}),
    "enqueue_many": frozenset({JobEvent.ENQUEUED}),
    "tell_enqueued": frozenset({JobEvent.ENQUEUED}),
    "promote": frozenset({JobEvent.PROMOTED}),
    "claim": frozenset({JobEvent.ASSIGNED, JobEvent.STARTED}),
    "start": frozenset({JobEvent.STARTED}),
    "complete": frozenset({JobEvent.SUCCEEDED}),
    "finish": frozenset(
        {
            *(JobEvent.SUCCEEDED, JobEvent.FAILED, JobEvent.TIMED_OUT, JobEvent.CANCELLED),
            *(JobEvent.RETURNED, JobEvent.RETRY_SCHEDULED),
        }
    ),
    "leave_assigned": frozenset({JobEvent.RETURNED}),
    "rescue": frozenset({JobEvent.RESCUED, JobEvent.FAILED, JobEvent.CANCELLED}),
}
#: What a batch of runs can tell of that all did what they should.
UNEVENTFUL = frozenset({JobEvent.SUCCEEDED})

#: A version 7 UUID: rows that come one after the other lie beside each other in the index.
_ID = (
    "(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '-7' || "
    "substr(gen_random_uuid()::text, 16))::uuid"
)
_PAYLOAD = (
    "jsonb_strip_nulls(jsonb_build_object('job_id', id, 'name', "
    "CASE WHEN name ~* '[=@]|bearer|basic' THEN NULL ELSE nullif(name, '') END) || facts)"
)
_AUDIT = """, audited AS (
    INSERT INTO audit_logs (id, correlation_id, event_type, payload, occurred_at, actor)
    SELECT {id}, correlation_id, event, {payload}, clock_timestamp(), 'system'
      FROM changed{where}
)"""
_EVENTS = """, published AS (
    INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, payload, metadata,
                               destination)
    SELECT {id}, id, 'JOB', event, {payload},
           CASE WHEN correlation_id IS NOT NULL OR trace_parent IS NOT NULL
                THEN jsonb_strip_nulls(jsonb_build_object('correlation_id', correlation_id,
                                                          'traceparent', trace_parent)) END,
           {destination}
      FROM changed{where}
    RETURNING {wake}
)"""


def text(name: str, tells: frozenset[str] | None = None) -> str:
    """The statement NAME as the settings want it. ``tells`` is what it can tell of this time, where
    that is less than it could. Raises ImproperlyConfigured."""
    return _text(name, TELLS[name] if tells is None else tells, wanted())


def record_text(event: str) -> str:
    """The statement ``record``, with the event where somebody wants it."""
    return _record_text(has_event=event in wanted().events)


def tells_anything(name: str) -> bool:
    """Whether the statement would write more than the change itself."""
    found = wanted()
    return not TELLS[name].isdisjoint(found.audit | found.events)


def is_told(event: str) -> bool:
    """Whether agents write it down."""
    found = wanted()
    return event in found.audit or event in found.events


def destination(event: str) -> str | None:
    """Where an event goes; None where nobody wants it."""
    return wanted().destinations.get(event)


def wake_lane() -> str:
    """An expression that wakes the relay of the column ``lane`` if it sleeps."""
    gate, channel = WAKE["gate"], WAKE["channel"]
    return (
        f"CASE WHEN pg_try_advisory_lock_shared({gate}, lane) "
        f"THEN pg_advisory_unlock_shared({gate}, lane)::text ELSE pg_notify('{channel}', '')::text "
        "END"
    )


@lru_cache(maxsize=64)
def _text(name: str, tells: frozenset[str], found: Wanted) -> str:
    plain = statement("jobs", name)
    audit, events = tells & found.audit, tells & found.events
    if not audit and not events:
        return _TOLD.sub("", plain)
    parts = ""
    if audit:
        parts += _filled(_AUDIT, name, audit)
    if events:
        parts += _filled(_EVENTS, name, events, found)
    return _TOLD.sub(lambda match: match[1].replace("{parts}", parts), plain)


@lru_cache(maxsize=2)
def _record_text(*, has_event: bool) -> str:
    plain = statement("jobs", "record")
    if not has_event:
        return _TOLD.sub("", plain)
    parts = plain.replace("{id}", _ID).replace("{wake}", wake_lane())
    return _TOLD.sub(lambda match: match[1], parts)


def _filled(part: str, name: str, events: frozenset[str], found: Wanted | None = None) -> str:
    names = sorted(events)
    where = ""
    if events != TELLS[name]:
        where = f" WHERE event IN ({', '.join(map(_literal, names))})"
    values = {"id": _ID, "payload": _PAYLOAD, "where": where, "wake": wake_lane()}
    if found is not None:
        values["destination"] = _destinations({one: found.destinations[one] for one in names})
    for key, value in values.items():
        part = part.replace("{" + key + "}", value)
    return part


def _destinations(by_event: dict[str, str]) -> str:
    found = set(by_event.values())
    if len(found) == 1:
        return _literal(found.pop())
    cases = " ".join(
        f"WHEN {_literal(event)} THEN {_literal(name)}" for event, name in by_event.items()
    )
    return f"CASE event {cases} END"


def _literal(text: str) -> str:
    """A text in a statement that has parameters besides."""
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"
