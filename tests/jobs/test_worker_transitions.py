"""What is done to a worker, from every state: it moves by the table of transitions, or stays.

By services and by what a worker process writes of itself; ``workers.move`` is in ``test_workers``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from django.db import transaction

from hodei.sql import statement
from jobs import assignments
from jobs.presence import Presence
from jobs.services import workers
from jobs.services.tokens import issue_token
from jobs.services.workers import WorkerStateConflict
from jobs.states import WORKER_FINAL, WORKER_TRANSITIONS, WorkerState
from jobs.testing import _OnDjangosConnection
from tests.jobs.conftest import Jobs
from tests.jobs.test_workers.kit import make_worker, silence, state_of

WHO: dict[str, Any] = {"reason": "a test", "actor": "me"}
Act = Callable[[Jobs, Any, uuid.UUID], object]


def held(jobs: Jobs, worker: uuid.UUID) -> uuid.UUID:
    """A job that it holds."""
    job = jobs.enqueue()
    jobs.execute("DELETE FROM job_queue")
    jobs.execute(
        "INSERT INTO job_leases (job_id, worker_id, epoch, expires_at) "
        "VALUES (%s, %s, 1, now() + interval '1 minute')",
        [job, worker],
    )
    return job


def note(jobs: Jobs, session: Any, worker: uuid.UUID, job: uuid.UUID | None) -> object:
    given = {"worker": worker, "job": job}
    return session.execute(statement("jobs", "note_current"), given).fetchall()


def lost(jobs: Jobs, session: Any, worker: uuid.UUID) -> object:
    silence(jobs, worker)
    return workers.lose_worker(worker, **WHO)


def found_silent(jobs: Jobs, session: Any, worker: uuid.UUID) -> object:
    silence(jobs, worker, 9_999)
    given = {"silence": 30.0, "making": 600.0, "uptime": -1.0, "number": 9}
    return session.execute(statement("jobs", "lose_workers"), given).fetchall()


def leave(jobs: Jobs, session: Any, worker: uuid.UUID) -> object:
    return Presence("default", worker, {})._end(session)


class Session(_OnDjangosConnection):
    def transaction(self) -> Any:
        return transaction.atomic()


LIVE = tuple(state.value for state in WorkerState if state not in WORKER_FINAL)
NOT_ENDED = (*LIVE, "FAILED")
AT_WORK = ("READY", "BUSY")
#: What is done, where it leads, and from which states.
ACTS: Mapping[str, tuple[Act, str, tuple[str, ...]]] = {
    "registers": (
        lambda jobs, session, worker: workers.register(
            worker, token=issue_token(worker, actor="me")
        ),
        *("CONNECTING", ("CREATING",)),
    ),
    "gives a sign of life": (
        lambda jobs, session, worker: workers.heartbeat(worker),
        *("READY", ("CONNECTING", "REGISTERED")),
    ),
    "beats as a process": (
        lambda jobs, session, worker: session.execute(
            statement("jobs", "heartbeat"), {"worker": worker}
        ),
        *("READY", ()),
    ),
    "takes a job": (
        lambda jobs, session, worker: workers.assign(worker, held(jobs, worker)),
        *("BUSY", ("READY",)),
    ),
    "gives its job back": (
        lambda jobs, session, worker: workers.release(worker),
        *("READY", ("BUSY",)),
    ),
    "notes what it runs": (
        lambda jobs, session, worker: note(jobs, session, worker, held(jobs, worker)),
        *("BUSY", AT_WORK),
    ),
    "notes that it runs nothing": (
        lambda jobs, session, worker: note(jobs, session, worker, None),
        *("READY", AT_WORK),
    ),
    "is drained": (
        lambda jobs, session, worker: workers.drain(worker, **WHO),
        *("DRAINING", AT_WORK),
    ),
    "begins to leave": (
        lambda jobs, session, worker: assignments.begin_leaving(session, worker),
        *("DRAINING", AT_WORK),
    ),
    "leaves": (leave, "TERMINATED", NOT_ENDED),
    "is terminated": (
        lambda jobs, session, worker: workers.terminate(worker, **WHO),
        *("TERMINATED", NOT_ENDED),
    ),
    "is given up": (lost, "TERMINATED", NOT_ENDED),
    "is found silent": (found_silent, "TERMINATED", LIVE),
}


@pytest.mark.django_db
@pytest.mark.parametrize(("before", "act"), list(product(WorkerState, ACTS)))
def test_every_act_on_every_state(jobs: Jobs, before: WorkerState, act: str) -> None:
    do, to, sources = ACTS[act]
    worker = make_worker(jobs, before)

    with suppress(WorkerStateConflict):
        do(jobs, Session("default"), worker)

    after = WorkerState(state_of(jobs, worker))
    assert after == (to if before in sources else before)
    assert after == before or after in WORKER_TRANSITIONS[before]


def test_what_no_act_does_is_a_decision_of_whoever_makes_workers() -> None:
    """Those are ``workers.move``'s, as draining and terminating are."""
    done = {(before, to) for _, to, sources in ACTS.values() for before in sources if before != to}
    table = {(before, to) for before, targets in WORKER_TRANSITIONS.items() for to in targets}

    assert done <= table
    assert table - done == {
        *((before, "TERMINATING") for before in ("READY", "BUSY", "DRAINING")),
        ("DRAINING", "READY"),
    }
