"""A worker whose machine has the wrong time: the database's clock is the one that counts."""

from __future__ import annotations

import json
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.faults import runs
from tests.faults.conftest import Worker
from tests.faults.runs import Session
from tests.jobs.conftest import program
from tests.processes import eventually

pytestmark = pytest.mark.process

NOTING = {"noting": {"seconds": 0}}


@pytest.mark.parametrize("shift", [3600, pytest.param(-3600, marks=pytest.mark.slow)])
def test_an_hour_off_it_changes_nothing(
    session: Session, noting: Worker, journal: Path, shift: int
) -> None:
    """It takes nothing from a worker whose clock is right, begins nothing early or late, ends what
    has a limit, and keeps its log as long as any other."""
    runs.watch_ends(session)
    right = noting()
    (held,) = runs.put(session, seconds=6)
    assert eventually(lambda: len(runs.journal(journal, "began")) == 1)
    # It takes no more, and ends what it holds.
    right.send_signal(signal.SIGTERM)
    schedule(session, "due", "0 s")
    schedule(session, "not due", "30 min")
    wrong = noting(variables={"FAULTS_SHIFT": str(shift)})
    assert eventually(lambda: runs.count(session, "workers") == 2)
    now, soon, later = (put(session, NOTING, after) for after in (None, "1 s", "30 min"))
    limited = put(session, {**program("sleep", "60"), "timeout_ms": 500})

    assert eventually(lambda: runs.count(session, "ends") == 5)
    states = dict(session.execute("SELECT id, state FROM jobs").fetchall())
    assert states.pop(limited) == "TIMEOUT"
    assert states.pop(later) == "PENDING"
    assert states.keys() > {held, now, soon}
    assert len(states) == 4
    assert set(states.values()) == {"SUCCEEDED"}
    assert session.execute(
        "SELECT idempotency_key IS NOT NULL FROM jobs WHERE id <> ALL (%s)",
        [[held, now, soon, later, limited]],
    ).fetchall() == [(True,)]
    assert runs.count(session, "jobs", "lost_leases > 0") == 0
    begins = "started_at >= coalesce(run_after, created_at) AND started_at <= clock_timestamp()"
    assert runs.count(session, "jobs", f"state <> 'PENDING' AND NOT ({begins})") == 0
    a_week = "expires_at - clock_timestamp() BETWEEN interval '167 h' AND interval '168 h'"
    assert runs.count(session, "job_log_files", a_week) == 1
    ran = {line.job: line.process for line in runs.journal(journal, "began")}
    assert (ran[held], ran[now], ran[soon]) == (right.pid, wrong.pid, wrong.pid)


def put(session: Session, spec: dict[str, Any], after: str | None = None) -> uuid.UUID:
    """Enqueue a job, by the clock of the database."""
    job = uuid.uuid4()
    session.execute(
        "INSERT INTO jobs (id, spec, state, max_attempts, run_after) "
        "VALUES (%s, %s, 'PENDING', 1, clock_timestamp() + %s::interval)",
        [job, json.dumps(spec), after],
    )
    if after is None:
        session.execute("INSERT INTO job_queue (job_id) VALUES (%s)", [job])
    else:
        session.execute(
            "INSERT INTO job_queue_deferred (job_id, run_after, queue) "
            "SELECT id, run_after, queue FROM jobs WHERE id = %s",
            [job],
        )
    return job


def schedule(session: Session, name: str, after: str) -> None:
    """One that is due in so long, and then next year at the soonest."""
    session.execute(
        "INSERT INTO job_schedules (name, cron, spec, next_run_at) "
        "VALUES (%s, '0 0 29 2 *', %s, clock_timestamp() + %s::interval)",
        [name, json.dumps(NOTING), after],
    )
