"""Jobs that write a line into a file for each of their runs, and the account of what became of
them.

A job may run twice, where a lease was lost; it ends once. A trigger counts the ends, so that what
is counted is what the database was told, and not what it happens to hold at last.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from jobs.executors import SpecInvalid
from jobs.runs import Cancelled, Outcome, Run, Succeeded

Session = psycopg.Connection[Any]

#: Leases that run out while a test looks, and somebody who looks for them.
SHORT_LEASES = {
    "jobs.leases.LEASE_SECONDS": 3.0,
    "jobs.leases.APART_SECONDS": 1.5,
    "jobs.rescuer.RESCUE_SECONDS": 0.5,
}
SETTINGS = {
    "JOBS_EXECUTORS": {
        "noting": "tests.faults.runs.Noting",
        "command": "jobs.executors.command.CommandExecutor",
    }
}


class Noting:
    """``{"noting": {"seconds": ...}}``: notes that it began, takes so long, and notes its end;
    ``"kills": true`` is the end of its worker."""

    default_timeout: float | None = None

    def __init__(self) -> None:
        path = os.environ.get("FAULTS_JOURNAL", os.devnull)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def validate(self, spec: Mapping[str, Any]) -> None:
        if "seconds" not in spec:
            raise SpecInvalid("spec['noting'] says how many seconds it takes.")

    def open(self, slots: int) -> None: ...

    def run(self, run: Run) -> Outcome:
        self._note("began", run)
        if run.spec["noting"].get("kills"):
            os.kill(os.getpid(), signal.SIGKILL)
        if run.stopping.wait(run.spec["noting"]["seconds"]):
            self._note("was-stopped", run)
            return Cancelled()
        self._note("ended", run)
        return Succeeded()

    def _note(self, what: str, run: Run) -> None:
        os.write(self._file, f"{what} {run.id} {run.job.epoch} {os.getpid()}\n".encode())

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Line:
    """Something that a run has noted."""

    what: str
    job: uuid.UUID
    epoch: int
    process: int


def journal(path: Path, what: str = "") -> list[Line]:
    """What runs have noted, in order; of one kind only if it is named."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [line.split() for line in lines]
    return [
        Line(kind, uuid.UUID(job), int(epoch), int(process))
        for kind, job, epoch, process in found
        if not what or kind == what
    ]


def watch_ends(session: Session) -> None:
    """From now on each end of a job is counted."""
    session.execute(
        """
        CREATE TABLE ends (job_id uuid NOT NULL, state text NOT NULL);
        CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO ends VALUES (NEW.id, NEW.state);
            RETURN NULL;
        END $$;
        CREATE TRIGGER note_end AFTER UPDATE OF state ON jobs FOR EACH ROW
            WHEN (NEW.state IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMEOUT'))
            EXECUTE FUNCTION note_end();
        """
    )


def put(session: Session, number: int = 1, *, seconds: float = 0.0) -> list[uuid.UUID]:
    """Enqueue so many jobs; returns their ids."""
    rows = session.execute(
        """
        WITH stored AS (
            INSERT INTO jobs (id, spec, state, max_attempts)
            SELECT gen_random_uuid(), jsonb_build_object('noting',
                       jsonb_build_object('seconds', %s::float8)), 'PENDING', 1
              FROM generate_series(1, %s)
            RETURNING id
        )
        INSERT INTO job_queue (job_id) SELECT id FROM stored RETURNING job_id
        """,
        [seconds, number],
    ).fetchall()
    return [row[0] for row in rows]


def count(session: Session, table: str, condition: str = "true") -> int:
    row = session.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()
    return int(row[0]) if row else -1


def unfinished(session: Session) -> int:
    return count(session, "jobs", "state IN ('PENDING', 'ASSIGNED', 'RUNNING')")


def check(session: Session, path: Path, jobs: int) -> dict[str, int]:
    """Fail where a job was lost, has ended twice, or ran more often than leases were lost; returns
    how many runs there were beyond one, and how many leases were lost."""
    states = session.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
    assert dict(states) == {"SUCCEEDED": jobs}
    ends = session.execute("SELECT job_id, count(*) FROM ends GROUP BY job_id").fetchall()
    assert len(ends) == jobs
    assert {number for _, number in ends} == {1}
    assert count(session, "job_queue") == count(session, "job_leases") == 0
    assert count(session, "jobs", "attempts <> 1") == 0
    runs = Counter(line.job for line in journal(path, "began"))
    rows = session.execute("SELECT id, lost_leases FROM jobs").fetchall()
    beyond = 0
    for job, lost in rows:
        assert 1 <= runs[job] <= 1 + lost, f"{job} ran {runs[job]} times, and lost {lost} leases"
        beyond += runs[job] - 1
    lost_leases = sum(lost for _, lost in rows)
    assert count(session, "job_failed_attempts", "kind = 'InfrastructureError'") == lost_leases
    return {"runs beyond one": beyond, "lost leases": lost_leases}
