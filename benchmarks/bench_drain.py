"""How fast jobs that do nothing are run: our worker, bare SQL, and other job queues.

Claims, with history kept: one worker process reaches half of limit A, two reach 0.4 of limit C;
with every transition as an event and an audit record it keeps 0.4 of its rate; and it does at least
15 times what each queue for Django does, and more than graphile-worker.

Limit A is one connection that takes 500 jobs, in one transaction, and marks them done in the next,
on a table made for that; limit C is the same by pgbench on two connections, one transaction for
each batch. "Bare SQL on our tables" does by hand what a claim and an end need at least there: no
lease, no thread, nothing run. Workers are processes of their own; their start is not in, their end
is.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import execute, migrated, postgresql  # noqa: E402
from jobs_load import (  # noqa: E402
    ON_RECORD,
    SPEC,
    TASK_SPEC,
    arguments,
    calm,
    check_record,
    empty,
    executors,
    fill,
    has_record,
    on_django,
    peer_cases,
    workers,
)
from measuring import Target, in_turn, report  # noqa: E402
from workload import PAYLOAD_TEXT  # noqa: E402

BATCH = 500
LIMIT_A, LIMIT_C = "limit A", "limit C"
OURS, TWO, RECORDED = "jobs_worker", "jobs_worker, two processes", "jobs_worker, all on record"
#: Jobs of those that need seconds for thousands; the others get as many as we.
FEW = 2_000
QUICK = ("graphile-worker", "pgqueuer")

LIMIT_TABLE = """
    CREATE TABLE limit_jobs (
        id uuid PRIMARY KEY DEFAULT uuidv7(), spec jsonb NOT NULL,
        state smallint NOT NULL DEFAULT 0, priority smallint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON limit_jobs (priority DESC, id) WHERE state = 0;
    CREATE INDEX ON limit_jobs (id) WHERE state = 1;
    CREATE INDEX ON limit_jobs (state, created_at);
    CREATE INDEX ON limit_jobs (created_at)"""
TAKE = f"""
    UPDATE limit_jobs SET state = 1
     WHERE id = ANY(ARRAY(SELECT id FROM limit_jobs WHERE state = 0 ORDER BY priority DESC, id
                           LIMIT {BATCH} FOR UPDATE SKIP LOCKED))
    RETURNING id, spec"""
END = (
    "UPDATE limit_jobs SET state = 2 FROM unnest({}::uuid[]) AS ended (id) "
    "WHERE limit_jobs.id = ended.id"
)
PGBENCH = f"""BEGIN;
WITH taken AS ({" ".join(TAKE.split())})
 SELECT array_agg(id)::text AS ids, sum(length(spec::text)) AS bytes FROM taken \\gset
{END.format(":ids")};
COMMIT;
"""
CLAIM = f"""
    WITH gone AS (
        DELETE FROM job_queue WHERE id = ANY(ARRAY(
               SELECT id FROM job_queue WHERE queue = 'default' ORDER BY priority DESC, id
                LIMIT {BATCH} FOR UPDATE SKIP LOCKED))
        RETURNING job_id
    )
    UPDATE jobs SET state = 'RUNNING', attempts = attempts + 1, started_at = clock_timestamp()
     WHERE id = ANY(ARRAY(SELECT job_id FROM gone)) AND (state = 'PENDING') IS TRUE
    RETURNING id, spec::text"""
FINISH = """
    UPDATE jobs SET state = 'SUCCEEDED', result = 'null', completed_at = clock_timestamp()
     WHERE id = ANY(%s) AND (state = 'RUNNING') IS TRUE"""


def main(rounds: int, jobs: int, few: int, peers: list[str]) -> None:
    missing: dict[str, str] = {}
    with migrated("bench_drain", JOBS_EXECUTORS=executors()) as url:
        execute(LIMIT_TABLE)
        cases: dict[str, Callable[[], float]] = {
            LIMIT_A: lambda: on_limit_table(jobs, by_psycopg),
            LIMIT_C: lambda: on_limit_table(jobs, lambda number: by_pgbench(url, number)),
            "bare SQL on our tables": lambda: on_our_tables(jobs, by_hand),
            OURS: lambda: drained(jobs),
            TWO: lambda: drained(jobs, 2),
            "jobs_worker, tasks of Django": lambda: drained(jobs, spec=TASK_SPEC),
        }
        if has_record():
            cases[RECORDED] = lambda: drained(jobs, settings=ON_RECORD)
        else:
            missing[RECORDED] = "This version has no setting for it."
        found = peer_cases(peers, url, missing)
        for label, measure in found.items():
            number = jobs if label.startswith(QUICK) else few
            cases[label] = lambda measure=measure, number=number: measure("drain", number)["rate"]
        figures = in_turn(cases, rounds)
        settings = {"jobs": jobs, "jobs of others": few, "batch": BATCH, "postgresql": postgresql()}
    report(
        "drain",
        figures,
        unit="jobs a second",
        against=LIMIT_A,
        settings=settings,
        targets=[
            Target(OURS, LIMIT_A, least=0.5),
            Target(TWO, LIMIT_C, least=0.4),
            Target(RECORDED, OURS, least=0.4),
            *(Target(OURS, label, least=15) for label in found if on_django(label)),
            *(Target(OURS, label, least=1) for label in found if not on_django(label)),
        ],
        missing=missing,
    )


def on_limit_table(jobs: int, drain: Callable[[int], float]) -> float:
    execute("TRUNCATE limit_jobs")
    execute(
        "INSERT INTO limit_jobs (spec) SELECT %s::jsonb FROM generate_series(1, %s)",
        [PAYLOAD_TEXT, jobs],
    )
    execute("VACUUM (ANALYZE) limit_jobs")
    execute("CHECKPOINT")
    took = drain(jobs)
    check(jobs, "SELECT count(*) FROM limit_jobs WHERE state = 2")
    return jobs / took


def by_psycopg(jobs: int) -> float:
    from hodei.sessions import connect  # noqa: PLC0415

    with connect("default", "limit") as session:
        started = time.perf_counter()
        while rows := session.execute(TAKE).fetchall():
            session.execute(END.format("%s"), [[row[0] for row in rows]])
        return time.perf_counter() - started


def by_pgbench(url: str, jobs: int) -> float:
    """Two clients, each with half of the batches; seconds without their connecting."""
    from hodei.db.embedded.binaries import default  # noqa: PLC0415

    batches = math.ceil(jobs / BATCH / 2)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(PGBENCH)
        script.flush()
        told = subprocess.run(
            [
                *(default().program("pgbench"), "--no-vacuum", "--protocol=prepared", "--client=2"),
                *("--jobs=1", f"--transactions={batches}", f"--file={script.name}", url),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"tps = ([0-9.]+)", told.stdout)
    if found is None or told.returncode:
        raise SystemExit(f"pgbench failed: {told.stderr[-1000:]}")
    return 2 * batches / float(found[1])


def on_our_tables(jobs: int, drain: Callable[[], float], spec: dict[str, Any] = SPEC) -> float:
    empty()
    fill(jobs, spec)
    calm()
    took = drain()
    check(jobs, "SELECT count(*) FROM jobs WHERE state = 'SUCCEEDED'")
    return jobs / took


def by_hand() -> float:
    from hodei.sessions import connect  # noqa: PLC0415

    with connect("default", "limit") as session:
        started = time.perf_counter()
        while rows := session.execute(CLAIM).fetchall():
            session.execute(FINISH, [[row[0] for row in rows]])
        return time.perf_counter() - started


def drained(
    jobs: int,
    processes: int = 1,
    *,
    spec: dict[str, Any] = SPEC,
    settings: dict[str, Any] | None = None,
) -> float:
    def drain() -> float:
        with workers(processes, settings, drain=True) as ours:
            started = time.perf_counter()
            ours.begin()
            ours.hear()
            return time.perf_counter() - started

    rate = on_our_tables(jobs, drain, spec)
    if settings == ON_RECORD:
        check_record(jobs)
    return rate


def check(jobs: int, count: str) -> None:
    if (done := execute(count)) != jobs:
        raise SystemExit(f"{done} of {jobs} jobs were run.")


if __name__ == "__main__":
    parser = arguments(__doc__ or "", 3, peers=True)
    parser.add_argument("--jobs", type=int, default=20_000, help="a multiple of 1,000")
    parser.add_argument("--few", type=int, default=FEW, help="jobs of the slower peers")
    given = parser.parse_args()
    if given.jobs < 1_000 or given.jobs % 1_000:
        parser.error(f"--jobs is {given.jobs}; it is a multiple of 1,000.")
    main(given.rounds, given.jobs, given.few, given.peers)
