"""What sagas tell on the overview, and which of them wait for a person."""

from __future__ import annotations

from collections.abc import Callable

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
    register,
    using_of,
)
from hodei.admin.rendering import first_line, page_of
from hodei.wording import age, short_id
from sagas.services import statistics as service
from sagas.services.statistics import MOST_COUNTED, MOST_WAITING, Statistics, statistics
from sagas.services.throughput import ended_by_minute
from sagas.states import SagaState

SAGA = "sagas.Saga"


def panel() -> Panel:
    """What is under way, what does not get on; the last hour."""
    using = using_of(SAGA)
    found = statistics(using=using)
    waiting = service.for_a_person(0, using=using).number
    return Panel(
        title="Sagas",
        figures=figures(found, waiting),
        charts=[
            Chart(
                title="Sagas ended, by minute",
                model=SAGA,
                series={"completed": "good", "undone": "wait", "left behind": "bad"},
                minutes=ended_by_minute(using=using),
            )
        ],
    )


def figures(found: Statistics, waiting: int) -> list[Figure]:
    """Pure: the numbers, and what each asks of a person."""
    return [
        *(
            Figure(
                label=label,
                value=capped(number, MOST_COUNTED),
                model=SAGA,
                query={"state__exact": state.value},
                tone=tone if number else "quiet",
            )
            for label, number, state, tone in (
                ("Pending", found.pending, SagaState.PENDING, "wait"),
                ("In progress", found.in_progress, SagaState.IN_PROGRESS, "busy"),
                ("Compensating", found.compensating, SagaState.COMPENSATING, "wait"),
            )
        ),
        Figure(
            label="Due, not taken",
            value=capped(found.untaken, MOST_COUNTED),
            model=SAGA,
            query={"waits": "runner"},
            tone="bad" if found.untaken else "good",
            remark=f"the first for {age(found.overdue.total_seconds())}" if found.overdue else "",
        ),
        Figure(
            label="Wait for a person",
            value=capped(waiting, MOST_WAITING),
            model=SAGA,
            query={"waits": "person"},
            tone="bad" if waiting else "good",
        ),
    ]


def _found(read: Callable[..., service.Found], most: int | None = None) -> Found:
    """As the list has it."""
    found = read(SHOWN, using=using_of(SAGA))
    cases = [
        Case(
            name=f"{saga.kind} {short_id(saga.id)}",
            address=page_of("sagas_saga", saga.id),
            why=first_line(saga.why, 200),
            since=saga.since,
        )
        for saga in found.sagas
    ]
    return Found(cases, found.number, most)


register(
    Part(
        app="sagas",
        title="Sagas",
        place=3,
        models=(SAGA,),
        panel=panel,
        kinds=(
            Kind(
                title="Sagas",
                advice="An outcome that nobody knows, or something that could not be undone.",
                model=SAGA,
                query={"waits": "person"},
                read=lambda: _found(service.for_a_person, MOST_WAITING),
            ),
            Kind(
                title="Sagas of an unknown version",
                advice="Due for a minute. Start a runner that has their definition.",
                model=SAGA,
                query={"waits": "version"},
                read=lambda: _found(service.of_unknown_version),
            ),
        ),
    )
)
