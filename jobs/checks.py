"""System checks: what is on record, and whether anybody delivers the events.

The first looks at settings alone. The second asks the database, so Django runs it only where it is
told which (``check --database default``, and ``migrate``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, router

from jobs.conf import EVENTS, Wanted, wanted

TAG = "jobs"
PAGE = "docs/how-to/jobs/audit-and-events.md"


@register(TAG)
def check_record(**_rest: Any) -> list[CheckMessage]:
    """jobs.E030 for settings that cannot be, E031 for events that cannot be stored with jobs."""
    try:
        found = wanted()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint=f"{PAGE} has what can be set.", id="jobs.E030")]
    if not found.events:
        return []
    jobs, events = (router.db_for_write(apps.get_model(name)) for name in ("jobs.Job", EVENT))
    if jobs == events:
        return []
    return [
        Error(
            f"Jobs have events, and they are in the database {jobs!r}, and the outbox in "
            f"{events!r}: one transaction cannot write both.",
            hint=f"Let the routers put both into one database, or set {EVENTS} to 'none'.",
            id="jobs.E031",
        )
    ]


EVENT = "outbox.Event"


@register(Tags.database)
def check_relay(databases: Sequence[str] | None = None, **_rest: Any) -> list[CheckMessage]:
    """jobs.W030: events are written, and no relay has ever looked for them."""
    try:
        found = wanted()
    except ImproperlyConfigured:
        return []  # check_record says so
    if not databases or not found.events:
        return []
    alias = router.db_for_write(apps.get_model(EVENT))
    return list(_unseen(found, alias)) if alias in databases else []


def _unseen(found: Wanted, alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('outbox_lanes') IS NOT NULL")
            if not cursor.fetchone()[0]:
                return  # before the first migrate
            # A relay makes its lanes when it begins, and they stay.
            cursor.execute("SELECT DISTINCT destination FROM outbox_lanes")
            seen = {row[0] for row in cursor.fetchall()}
    except DatabaseError:
        return  # whoever needs the database says what is wrong with it
    for name in sorted(set(found.destinations.values()) - seen):
        yield CheckWarning(
            f"Events of jobs go to the destination {name!r}, and no relay of it was ever seen: "
            "they wait in outbox_events.",
            hint=f"Start manage.py outbox_relay, or set {EVENTS} to 'none'.",
            id="jobs.W030",
        )
