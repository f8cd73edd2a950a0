"""What a schedule replaces ends, or goes back into the queue, at the same moment."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from hodei.sessions import connect
from jobs import leases
from jobs.runs import Ended
from jobs.services import schedules
from jobs.states import JobState
from jobs.ticker import tick
from tests.jobs.conftest import Jobs
from tests.processes import eventually

SPEC = {"test": {"do": "succeed", "n": 0}}


def ticked() -> int:
    with connect("default", "ticks") as session:
        return tick(session)


def is_waited_for(session: psycopg.Connection[Any]) -> bool:
    """Whether somebody waits for what this one holds."""
    with connect("default", "looks") as other:
        found = other.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND %s = ANY(pg_blocking_pids(pid))",
            [session.info.backend_pid],
        ).fetchall()
    return found != []


@pytest.mark.parametrize(
    ("state", "seconds", "ends", "told"),
    [
        (JobState.PENDING, 0.0, "CANCELLED", ["JobCancelled"]),
        (JobState.PENDING, 60.0, "CANCELLED", ["JobCancelled"]),
        (JobState.SUCCEEDED, None, "SUCCEEDED", []),
    ],
    ids=["goes back at once", "goes back later", "ends"],
)
def test_defect_3_2_it_leaves_no_place_behind(
    jobs: Jobs, state: JobState, seconds: float | None, ends: str, told: list[str]
) -> None:
    """While the ticker waits for its lease. Nobody is said to have cancelled what has ended."""
    schedules.add("s", cron="0 0 1 1 *", spec=SPEC, actor="who", overlap="REPLACE")
    due = (
        "UPDATE job_schedules SET next_run_at = date_trunc('minute', now()) + %s * interval '1 us'"
    )
    jobs.execute(due, [0])
    assert ticked() == 1
    with connect("default", "finishes") as session, ThreadPoolExecutor(1) as pool:
        (job,) = (one.id for one in leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1))
        epoch = jobs.value("SELECT epoch FROM job_leases")
        jobs.execute(due, [1])
        with session.transaction():
            leases.finish(session, [Ended(job, epoch, state, seconds=seconds)])
            ticking = pool.submit(ticked)
            assert eventually(lambda: is_waited_for(session))
        assert ticking.result(30) == 1

    assert (jobs.state(job), jobs.place(job)) == (ends, [])
    assert [
        row[0] for row in jobs.rows("SELECT event_type FROM audit_logs WHERE payload ? 'job_id'")
    ] == told
