"""What workers do to a job, from every state: it moves by the table of transitions, or stays."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from itertools import product
from random import Random
from typing import Any

import pytest

from jobs import leases, retry, telling
from jobs.runs import Cancelled, Claimed, Ended, Failed, Snoozed, Succeeded, TimedOut
from jobs.states import JOB_TRANSITIONS, FailureKind, JobState
from jobs.testing import _OnDjangosConnection
from tests.jobs.conftest import Jobs

WORKER, EPOCH = uuid.UUID(int=7), 9
AGAIN = Failed(FailureKind.UNKNOWN, "no", retryable=True, retry_in=60.0)


def held(job: uuid.UUID) -> Claimed:
    rest: tuple[Any, ...] = (1, 3, None, "", None, None, None, None, 0, "{}", True, 0, 1, "default")
    return Claimed(job, EPOCH, "{}", *rest)


def ended(outcome: Any) -> Callable[[Any, uuid.UUID], object]:
    def act(session: Any, job: uuid.UUID) -> object:
        return leases.finish(session, [retry.end(held(job), outcome, rng=Random(1))])

    return act


def returned(session: Any, job: uuid.UUID) -> object:
    return leases.finish(session, [Ended(job, EPOCH, JobState.PENDING, spent=False)])


def claimed(starting: int) -> Callable[[Any, uuid.UUID], object]:
    return lambda session, job: leases.claim(session, WORKER, ["default"], 1, starting=starting)


def completed(session: Any, job: uuid.UUID) -> object:
    given = {"id": job, "epoch": EPOCH, "result": None}
    return session.execute(telling.text("complete"), given).fetchall()


def rescued(session: Any, job: uuid.UUID) -> object:
    session.execute("UPDATE job_leases SET expires_at = now() - interval '1 minute'")
    return leases.rescue(session)


def rescued_at_last(session: Any, job: uuid.UUID) -> object:
    session.execute("UPDATE jobs SET lost_leases = 4")
    return rescued(session, job)


def rescued_and_cancelled(session: Any, job: uuid.UUID) -> object:
    session.execute("UPDATE job_leases SET cancel_requested_at = now()")
    return rescued(session, job)


def cancelled_meanwhile(outcome: Any) -> Callable[[Any, uuid.UUID], object]:
    def act(session: Any, job: uuid.UUID) -> object:
        session.execute("UPDATE job_leases SET cancel_requested_at = now()")
        return ended(outcome)(session, job)

    return act


HELD = ("ASSIGNED", "RUNNING")
#: What is done, where it leads, and from which states.
ACTS: Mapping[str, tuple[Callable[[Any, uuid.UUID], object], str, tuple[str, ...]]] = {
    "claimed and begun": (claimed(1), "RUNNING", ("PENDING",)),
    "claimed": (claimed(0), "ASSIGNED", ("PENDING",)),
    "begun": (lambda session, job: leases.start(session, [held(job)]), "RUNNING", ("ASSIGNED",)),
    "returned": (returned, "PENDING", HELD),
    "succeeded": (ended(Succeeded()), "SUCCEEDED", ("RUNNING",)),
    "failed": (ended(Failed(FailureKind.UNKNOWN, "no", retryable=False)), "FAILED", HELD),
    "to be tried again": (ended(AGAIN), "PENDING", HELD),
    "timed out": (ended(TimedOut("late", retryable=False)), "TIMEOUT", HELD),
    "cancelled": (ended(Cancelled()), "CANCELLED", HELD),
    "snoozed": (ended(Snoozed(9.0)), "PENDING", HELD),
    "cancelled before a retry": (cancelled_meanwhile(AGAIN), "CANCELLED", HELD),
    "completed": (completed, "SUCCEEDED", ("RUNNING",)),
    "rescued": (rescued, "PENDING", HELD),
    "rescued at last": (rescued_at_last, "FAILED", ("RUNNING",)),
    "rescued and cancelled": (rescued_and_cancelled, "CANCELLED", HELD),
}


def job_in(jobs: Jobs, state: JobState) -> uuid.UUID:
    """In the queue and under a lease, whatever its state is: the state alone is to decide."""
    job = jobs.enqueue(max_attempts=3)
    jobs.execute("UPDATE jobs SET state = %s, attempts = 1", [state])
    if state != "PENDING":
        jobs.execute(
            "INSERT INTO job_leases (job_id, worker_id, epoch, expires_at) "
            "VALUES (%s, %s, %s, now() + interval '1 minute')",
            [job, WORKER, EPOCH],
        )
        jobs.execute("DELETE FROM job_queue WHERE %s", [state in HELD])
    return job


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("before", "act"),
    # No worker tells of a success before it has begun.
    [one for one in product(JobState, ACTS) if one != (JobState.ASSIGNED, "succeeded")],
)
def test_every_act_on_every_state(jobs: Jobs, before: JobState, act: str) -> None:
    do, to, sources = ACTS[act]
    job = job_in(jobs, before)

    do(_OnDjangosConnection("default"), job)

    after = JobState(jobs.state(job))
    assert after == before or after in JOB_TRANSITIONS[before]
    if before in sources:
        assert after == to
    elif (act, before) == ("rescued at last", "ASSIGNED"):
        assert after == "PENDING"  # it had not begun, so that is no lost run
    else:
        assert after == before


def test_every_transition_of_the_table_is_somebodys() -> None:
    """By an act of these, or a person's (``test_lifecycle``); what is left is the original's, for
    whoever writes in its terms, as is all about SCHEDULED."""
    done = {(before, to) for _, to, sources in ACTS.values() for before in sources}
    people = {
        *((before, "CANCELLED") for before in ("CREATED", "PENDING", *HELD)),
        *((before, "PENDING") for before in ("FAILED", "TIMEOUT")),
        *((before, "MANUAL_INTERVENTION_REQUIRED") for before in ("PENDING", "ASSIGNED")),
        *(("MANUAL_INTERVENTION_REQUIRED", to) for to in ("PENDING", "CANCELLED")),
        ("CREATED", "PENDING"),
    }
    table = {
        (before, to)
        for before, targets in JOB_TRANSITIONS.items()
        for to in targets
        if "SCHEDULED" not in {before, to}
    }

    assert done | people <= table
    assert table - done - people == {
        *(("PENDING", "FAILED"), ("PENDING", "TIMEOUT")),
        *(("RUNNING", "MANUAL_INTERVENTION_REQUIRED"), ("MANUAL_INTERVENTION_REQUIRED", "FAILED")),
    }
