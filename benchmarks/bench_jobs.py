"""What jobs cost, against the same durable work done by hand in bare SQL on the same tables.

Claims: one worker process drains at least half as many no-op jobs a second as the limit, with
default settings and history kept; ``enqueue`` reaches at least 0.7 of the limit, ``enqueue_many``
half of COPY.

usage: python benchmarks/bench_jobs.py [ROUNDS [JOBS]]

The limit of draining is one connection that takes 500 places out of the queue, marks their jobs
RUNNING, and marks them SUCCEEDED in the next transaction: no lease, no thread, nothing run. That of
enqueueing stores the job and its place in one statement, every value ready-made: nothing is checked
and nobody is woken.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import execute, migrated, postgresql  # noqa: E402
from measuring import in_turn, report  # noqa: E402
from workload import PAYLOAD, PAYLOAD_TEXT  # noqa: E402

#: Transactions of one case in one round.
SINGLE = 1_000
BATCH = 500
SPEC = {"noop": PAYLOAD}
SPEC_TEXT = f'{{"noop": {PAYLOAD_TEXT}}}'
TABLES = "jobs, job_queue, job_queue_deferred, job_leases, job_failed_attempts, workers"

CLAIM = """
WITH gone AS (
    DELETE FROM job_queue WHERE id = ANY(ARRAY(
           SELECT id FROM job_queue WHERE queue = 'default' ORDER BY priority DESC, id
            LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING job_id
)
UPDATE jobs SET state = 'RUNNING', attempts = attempts + 1, started_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT job_id FROM gone)) AND (state = 'PENDING') IS TRUE
RETURNING id, spec::text"""
FINISH = """
UPDATE jobs SET state = 'SUCCEEDED', result = 'null', completed_at = clock_timestamp()
 WHERE id = ANY(%s) AND (state = 'RUNNING') IS TRUE"""
INSERT = """
WITH stored AS (
    INSERT INTO jobs (id, spec, state, name, queue, metadata)
    VALUES (%s, %s, 'PENDING', '', 'default', '{}')
    RETURNING id
)
INSERT INTO job_queue (job_id, queue, priority) SELECT id, 'default', 0 FROM stored"""
COPY_JOBS = "COPY jobs (id, spec, state, name, queue, metadata) FROM STDIN"
COPY_QUEUE = "COPY job_queue (job_id, queue, priority) FROM STDIN"


class Noop:
    """An executor whose jobs do nothing."""

    default_timeout: float | None = None

    def validate(self, spec: Any) -> None: ...

    def open(self, slots: int) -> None: ...

    def run(self, run: Any) -> Any:
        from jobs.runs import Succeeded  # noqa: PLC0415

        return Succeeded(None)

    def close(self) -> None: ...


def main(rounds: int, jobs: int) -> None:
    with migrated("bench_jobs"):
        from django.conf import settings  # noqa: PLC0415

        settings.JOBS_EXECUTORS = {"noop": f"{__name__}.Noop"}
        draining(rounds, jobs)
        one_by_one(rounds)
        together(rounds, jobs)


def calm() -> None:
    for table in TABLES.split(", "):
        execute(f"VACUUM (ANALYZE) {table}")
    execute("CHECKPOINT")


def fill(jobs: int) -> None:
    from jobs.services.queue import enqueue_many  # noqa: PLC0415
    from jobs.spec import NewJob  # noqa: PLC0415

    execute(f"TRUNCATE {TABLES} CASCADE")
    enqueue_many(NewJob(spec=SPEC) for _ in range(jobs))
    calm()


def draining(rounds: int, jobs: int) -> None:
    def limit() -> None:
        from hodei.sessions import connect  # noqa: PLC0415

        with connect("default", "limit") as session:
            while rows := session.execute(CLAIM, [BATCH]).fetchall():
                session.execute(FINISH, [[row[0] for row in rows]])

    def worker() -> None:
        from jobs.worker import Worker, WorkerOptions  # noqa: PLC0415

        Worker(WorkerOptions(drain=True)).run()

    def case(action: Callable[[], None]) -> Callable[[], float]:
        def measured() -> float:
            fill(jobs)
            started = time.perf_counter()
            action()
            took = time.perf_counter() - started
            if execute("SELECT count(*) FROM jobs WHERE state = 'SUCCEEDED'") != jobs:
                raise SystemExit("Not every job was run.")
            return jobs / took

        return measured

    figures = in_turn({"bare SQL": case(limit), "jobs_worker": case(worker)}, rounds)
    report(
        "drain",
        figures,
        unit="jobs a second",
        against="bare SQL",
        settings={"jobs": jobs, "batch": BATCH, "postgresql": postgresql()},
    )


def one_by_one(rounds: int) -> None:
    from django.db import connection, transaction  # noqa: PLC0415

    from hodei.compat import uuid7  # noqa: PLC0415
    from jobs.services.queue import enqueue  # noqa: PLC0415

    def bare() -> None:
        for _ in range(SINGLE):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(INSERT, [uuid7(), SPEC_TEXT])

    def ours() -> None:
        for _ in range(SINGLE):
            with transaction.atomic():
                enqueue(spec=SPEC)

    def case(action: Callable[[], None]) -> Callable[[], float]:
        def measured() -> float:
            started = time.perf_counter()
            action()
            return SINGLE / (time.perf_counter() - started)

        return measured

    fill(10)
    bare()
    ours()
    calm()
    # Single commits wait for the disk, whose mood changes: many short turns.
    figures = in_turn({"bare SQL": case(bare), "enqueue": case(ours)}, rounds * 3)
    report(
        "enqueue",
        figures,
        unit="jobs a second",
        against="bare SQL",
        settings={"transactions": SINGLE, "postgresql": postgresql()},
    )


def together(rounds: int, jobs: int) -> None:
    from django.db import connection, transaction  # noqa: PLC0415

    from hodei.compat import uuid7  # noqa: PLC0415
    from jobs.services.queue import enqueue_many  # noqa: PLC0415
    from jobs.spec import NewJob  # noqa: PLC0415

    def copy() -> None:
        ids = [uuid7() for _ in range(jobs)]
        with connection.cursor() as cursor:
            with cursor.copy(COPY_JOBS) as out:
                for job in ids:
                    out.write_row((job, SPEC_TEXT, "PENDING", "", "default", "{}"))
            with cursor.copy(COPY_QUEUE) as out:
                for job in ids:
                    out.write_row((job, "default", 0))

    def ours() -> None:
        enqueue_many(NewJob(spec=SPEC) for _ in range(jobs))

    def case(action: Callable[[], None]) -> Callable[[], float]:
        def measured() -> float:
            fill(0)
            started = time.perf_counter()
            with transaction.atomic():
                action()
            took = time.perf_counter() - started
            if execute("SELECT count(*) FROM job_queue") != jobs:
                raise SystemExit("Not every job was stored.")
            return jobs / took

        return measured

    figures = in_turn({"COPY": case(copy), "enqueue_many": case(ours)}, rounds)
    report(
        "enqueue_many",
        figures,
        unit="jobs a second",
        against="COPY",
        settings={"jobs": jobs, "postgresql": postgresql()},
    )


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers + [5, 20_000][len(numbers) :]))
