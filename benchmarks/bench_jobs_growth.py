"""Whether jobs slow down as their history grows: drain, claim, enqueue, on empty tables and full.

Claim: with 10,000,000 finished jobs, 1,000,000 scheduled ones and 100,000 that are blocked, a
drain, 99 of 100 claims, and an enqueue cost at most 1.2 times what they cost with none.

Two databases on one server take turns. The full one is made once and kept in ``.hodei/bench``: with
10,000,000 jobs that takes minutes and gigabytes, once; with ``--finished 1000000 --scheduled 100000
--blocked 10000`` it is quick. Of those that are blocked, half are held until a person decides, and
half are ready in a queue that no worker takes from. Ids and times are a millisecond apart, so every
index is as large as it would be.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import add, execute, migrated, postgresql, progress  # noqa: E402
from jobs_load import SPEC, SPEC_TEXT, arguments, executors, fill, workers  # noqa: E402
from measuring import Target, in_turn, percentile, report  # noqa: E402

#: Jobs of one claim, and enqueued in one round.
CLAIMED, ENQUEUED = 100, 500
#: Rows of one statement of the filling.
PART = 250_000
HOT = ("jobs", "job_queue", "job_queue_deferred", "job_leases")
#: Ids begin with the time, as those of ``enqueue`` do.
ID = """(lpad(to_hex(extract(epoch FROM at)::bigint * 1000 + n %% 1000), 12, '0') || '7'
        || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 5, 15))::uuid"""
ROWS = """
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS s (n)
     CROSS JOIN LATERAL (
           SELECT now() - (%(all)s - n) * interval '1 ms' - %(ago)s::interval AS at) AS t"""
COLUMNS = "id, spec, state, name, queue, metadata, created_at, updated_at, attempts"
FINISHED = f"""
    INSERT INTO jobs ({COLUMNS}, started_at, completed_at, result, worker_id)
    SELECT {ID}, %(spec)s::jsonb, 'SUCCEEDED', '', 'default', '{{}}', at, at, 1, at, at, 'null',
           '11111111-2222-4333-8444-555555555555' {ROWS}"""
SCHEDULED = f"""
    WITH stored AS (
        INSERT INTO jobs ({COLUMNS}, run_after)
        SELECT {ID}, %(spec)s::jsonb, 'PENDING', '', 'default', '{{}}', at, at, 0,
               now() + interval '30 days' + n * interval '1 second' {ROWS}
        RETURNING id, run_after
    )
    INSERT INTO job_queue_deferred (job_id, run_after, queue, priority)
    SELECT id, run_after, 'default', 0 FROM stored"""
HELD = f"""
    INSERT INTO jobs ({COLUMNS})
    SELECT {ID}, %(spec)s::jsonb, 'MANUAL_INTERVENTION_REQUIRED', '', 'default', '{{}}', at, at, 0
    {ROWS}"""
UNSERVED = f"""
    WITH stored AS (
        INSERT INTO jobs ({COLUMNS})
        SELECT {ID}, %(spec)s::jsonb, 'PENDING', '', 'nobody', '{{}}', at, at, 0 {ROWS}
        RETURNING id
    )
    INSERT INTO job_queue (job_id, queue, priority) SELECT id, 'nobody', 100 FROM stored"""


def main(given: Namespace) -> None:
    finished, scheduled, blocked = given.finished, given.scheduled, given.blocked
    with migrated("bench_jobs_growth_empty", JOBS_EXECUTORS=executors()) as url:
        name = f"bench_jobs_growth_{finished}_{scheduled}_{blocked}"
        full = url.replace("bench_jobs_growth_empty", name)
        if add("full", full, complete=complete):
            make(finished, scheduled, blocked)
        labels = {"default": "empty", "full": f"{finished:,} finished"}
        urls = {"default": url, "full": full}
        settings: dict[str, Any] = {
            "finished": finished,
            "scheduled": scheduled,
            "blocked": blocked,
            "jobs of a drain": given.jobs,
            "jobs of a claim": CLAIMED,
            "bytes": {
                table: execute("SELECT pg_total_relation_size(%s::regclass)", [table], using="full")
                for table in HOT
            },
            "postgresql": postgresql(),
        }
        actions: dict[str, tuple[Callable[[str], float], str]] = {
            "drain": (lambda using: drain(using, urls[using], given.jobs), "microseconds a job"),
            "claim": (lambda using: claim(using, given.claims), "milliseconds, 99 of 100 claims"),
            "enqueue": (enqueue, "microseconds a job"),
        }
        for part, (action, unit) in actions.items():
            for using in labels:
                action(using)
            cases = {
                label: lambda using=using, action=action: action(using)
                for using, label in labels.items()
            }
            figures = in_turn(cases, given.rounds * (3 if part == "enqueue" else 1))
            report(
                f"jobs_growth_{part}",
                figures,
                unit=unit,
                against="empty",
                settings=settings,
                targets=[Target(labels["full"], "empty", most=1.2)],
            )


def complete() -> bool:
    """Whether the database was filled to the end, by an earlier run."""
    return bool(execute("SELECT to_regclass('bench_complete') IS NOT NULL", using="full"))


def make(finished: int, scheduled: int, blocked: int) -> None:
    indexes = _indexes()
    for name, _ in indexes:
        execute(f"DROP INDEX {name}", using="full")
    for number, (statement, rows) in enumerate(
        (
            (FINISHED, finished),
            (SCHEDULED, scheduled),
            (HELD, blocked // 2),
            (UNSERVED, blocked - blocked // 2),
        )
    ):
        for first in range(1, rows + 1, PART):
            last = min(first + PART - 1, rows)
            progress(f"filling {last:,} of {rows:,} ({number + 1} of 4)")
            execute(
                statement,
                # No two of the four may have the same id.
                {"first": first, "last": last, "all": rows, "spec": SPEC_TEXT, "ago": _ago(number)},
                using="full",
            )
    for name, definition in indexes:
        progress(f"making {name}")
        execute(definition, using="full")
    for table in HOT:
        execute(f"VACUUM (ANALYZE) {table}", using="full")
    execute("CREATE TABLE bench_complete ()", using="full")
    execute("CHECKPOINT", using="full")


def _ago(number: int) -> str:
    return f"{1 + 240 * number} hours"


def _indexes() -> list[tuple[str, str]]:
    """Those that are quicker made at the end."""
    from django.db import connections  # noqa: PLC0415

    with connections["full"].cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
            "WHERE indrelid = ANY(%s::regclass[]) AND NOT indisunique",
            [list(HOT)],
        )
        return cursor.fetchall()


def calm(using: str) -> None:
    for table in ("job_queue", "job_leases"):
        execute(f"VACUUM (ANALYZE) {table}", using=using)
    execute("CHECKPOINT", using=using)


def drain(using: str, url: str, jobs: int) -> float:
    """By a worker in a process of its own, whose queue is that of the jobs."""
    fill(jobs, using=using)
    calm(using)
    before = os.environ["DATABASE_URL"]
    os.environ["DATABASE_URL"] = url
    try:
        with workers(1, drain=True, queues=["default"]) as ours:
            started = time.perf_counter()
            ours.begin()
            (ended,) = ours.hear()
            took = time.perf_counter() - started
    finally:
        os.environ["DATABASE_URL"] = before
    if ended["runs"] != jobs:
        raise SystemExit(f"{ended['runs']} of {jobs} jobs were run.")
    return took / jobs * 1e6


def claim(using: str, claims: int) -> float:
    """Take a batch, and write down its end, as a worker does; each take is timed."""
    from hodei.sessions import connect  # noqa: PLC0415
    from jobs import leases, retry  # noqa: PLC0415
    from jobs.runs import Succeeded  # noqa: PLC0415

    fill(claims * CLAIMED, using=using)
    calm(using)
    worker = uuid.uuid4()
    seconds: list[float] = []
    with connect(using, "claims") as session:
        for _ in range(claims):
            started = time.perf_counter()
            taken = leases.claim(session, worker, ["default"], CLAIMED, starting=CLAIMED)
            seconds.append(time.perf_counter() - started)
            if len(taken) != CLAIMED:
                raise SystemExit(f"{len(taken)} jobs were claimed.")
            ended = [
                retry.end(job, Succeeded(None), rng=Random(0), backoff=retry.DEFAULT_BACKOFF)  # noqa: S311
                for job in taken
            ]
            leases.finish(session, ended)
    return percentile(seconds, 0.99) * 1e3


def enqueue(using: str) -> float:
    """Each job in a transaction of its own; they are taken away again, untimed."""
    from django.db import transaction  # noqa: PLC0415

    from jobs.services.queue import enqueue as enqueue_one  # noqa: PLC0415

    ids = []
    started = time.perf_counter()
    for _ in range(ENQUEUED):
        with transaction.atomic(using=using):
            ids.append(enqueue_one(using=using, spec=SPEC).id)
    took = time.perf_counter() - started
    execute("DELETE FROM job_queue WHERE job_id = ANY(%s)", [ids], using=using)
    execute("DELETE FROM jobs WHERE id = ANY(%s)", [ids], using=using)
    return took / ENQUEUED * 1e6


if __name__ == "__main__":
    parser = arguments(__doc__ or "", 5)
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a drain")
    parser.add_argument("--claims", type=int, default=200, help=f"claims of {CLAIMED} jobs")
    parser.add_argument("--finished", type=int, default=10_000_000)
    parser.add_argument("--scheduled", type=int, default=1_000_000)
    parser.add_argument("--blocked", type=int, default=100_000)
    main(parser.parse_args())
