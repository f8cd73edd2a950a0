"""What jobs tell on the overview, and which of them wait for a person."""

from __future__ import annotations

from datetime import timedelta

from hodei.admin.parts import (
    SHOWN,
    Case,
    Chart,
    Figure,
    Found,
    Kind,
    Panel,
    Part,
    capped,
    count_of,
    register,
    using_of,
)
from hodei.admin.rendering import page_of
from hodei.columns import words_of
from hodei.wording import age
from jobs.admin.workers import silent_for
from jobs.models import Job, Provider, Worker
from jobs.services.inspection import MOST_COUNTED, Glance, glance
from jobs.services.throughput import enqueued_by_minute
from jobs.states import JobState, ProviderStatus, WorkerState

#: Live workers say more often that they are.
SILENCE = timedelta(minutes=1)
ALIVE = [WorkerState.READY, WorkerState.BUSY, WorkerState.DRAINING]
#: Providers that make no workers, and that nobody has switched off.
AILING = [ProviderStatus.ERROR, ProviderStatus.UNHEALTHY, ProviderStatus.DEGRADED]


def panel() -> Panel:
    """What waits, who works, what went wrong; the last hour."""
    using = using_of("jobs.Job")
    found = glance(using=using)
    return Panel(
        title="Jobs",
        figures=figures(found, silent_workers()),
        charts=[
            Chart(
                title="Jobs enqueued, by minute, and how they stand now",
                model="jobs.Job",
                series={
                    "succeeded": "good",
                    "not ended": "wait",
                    "failed": "bad",
                    "cancelled": "quiet",
                },
                minutes=enqueued_by_minute(using=using),
            )
        ],
    )


def figures(found: Glance, silent: int) -> list[Figure]:
    """Pure: the numbers, and what each asks of a person."""
    nobody = found.workers == 0 and found.ready > 0
    return [
        Figure(
            label="Waiting",
            value=_number(found.ready),
            model="jobs.QueueEntry",
            tone="wait" if found.ready else "good",
            remark=f"the oldest for {age(found.oldest.total_seconds())}" if found.oldest else "",
        ),
        Figure(
            label="Due later",
            value=_number(found.deferred),
            model="jobs.DeferredEntry",
        ),
        Figure(
            label="Held by workers",
            value=_number(found.held_by_workers),
            model="jobs.Lease",
            tone="bad" if found.expired_leases else "busy" if found.held_by_workers else "quiet",
            remark=f"{_number(found.expired_leases)} leases have run out"
            if found.expired_leases
            else "",
        ),
        Figure(
            label="Workers alive",
            value=_number(found.workers),
            model="jobs.Worker",
            tone="bad" if nobody else "wait" if silent else "good" if found.workers else "quiet",
            remark="nobody takes what waits: start jobs_worker"
            if nobody
            else f"{silent:,} silent for over a minute"
            if silent
            else "",
        ),
        Figure(
            label="Failed",
            value=_number(found.failed),
            model="jobs.Job",
            query={"state__exact": JobState.FAILED.value},
            tone="wait" if found.failed else "quiet",
        ),
        Figure(
            label="Wait for a person",
            value=_number(found.needs_a_person),
            model="jobs.Job",
            query={"state__exact": JobState.MANUAL_INTERVENTION_REQUIRED.value},
            tone="bad" if found.needs_a_person else "good",
        ),
    ]


def silent_workers() -> int:
    """Of those that count as alive, whoever has said nothing for a while."""
    return count_of(silent_for(SILENCE, Worker.objects.filter(state__in=ALIVE)))


def held() -> Found:
    """Jobs that rest until somebody decides, the oldest first, by jobs_state_created_idx."""
    rows = Job.objects.filter(state=JobState.MANUAL_INTERVENTION_REQUIRED.value)
    first = rows.order_by("created_at", "pk").values_list("pk", "name", "queue", "updated_at")
    cases = [
        Case(
            name=name or str(key),
            address=page_of("jobs_job", key),
            why=f"Held, from queue {queue}: release or cancel it.",
            since=since,
        )
        for key, name, queue, since in first[:SHOWN]
    ]
    return Found(cases, count_of(rows))


def ailing() -> Found:
    """Providers whose health checks fail, the longest first; there are few."""
    rows = Provider.objects.filter(status__in=AILING)
    first = rows.order_by("updated_at", "pk").values_list("pk", "name", "status", "updated_at")
    cases = [
        Case(
            name=name,
            address=page_of("jobs_provider", key),
            why=f"{words_of(status)}: it makes no workers.",
            since=since,
        )
        for key, name, status, since in first[:SHOWN]
    ]
    return Found(cases, count_of(rows))


def _number(value: int) -> str:
    return capped(value, MOST_COUNTED)


register(
    Part(
        app="jobs",
        title="Jobs",
        place=1,
        models=("jobs.Job", "jobs.QueueEntry", "jobs.DeferredEntry", "jobs.Lease", "jobs.Worker"),
        panel=panel,
        kinds=(
            Kind(
                title="Jobs held",
                advice="They do not run until somebody releases or cancels them.",
                model="jobs.Job",
                query={"state__exact": JobState.MANUAL_INTERVENTION_REQUIRED.value},
                read=held,
                tone="wait",
            ),
            Kind(
                title="Providers",
                advice="Find out what ails them; enable them again, or disable them.",
                model="jobs.Provider",
                read=ailing,
            ),
        ),
    )
)
