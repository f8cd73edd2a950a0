"""How fast jobs are enqueued, one by one and many at once: ours, bare SQL, and other job queues.

Claims: ``enqueue`` reaches at least 0.7 of the limit, ``enqueue_many`` half of COPY into the same
tables.

The limit of one by one stores the job and its place in the queue in one statement, every value
ready-made: nothing is checked and nobody is woken. Each job is in a transaction of its own
everywhere. A queue without an API for many gets a loop in one transaction, and fewer jobs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import execute, migrated, postgresql  # noqa: E402
from jobs_load import (  # noqa: E402
    ON_RECORD,
    SPEC,
    SPEC_TEXT,
    arguments,
    calm,
    check_record,
    empty,
    executors,
    fill,
    has_record,
    peer_cases,
)
from measuring import Target, in_turn, report  # noqa: E402

LIMIT, COPY = "bare SQL", "COPY"
ON_RECORD_LABEL = "{}, all on record"
#: Jobs of a peer without an API for many.
FEW = 2_000
BULK = ("pgqueuer", "graphile-worker", "procrastinate", "django-ox", "dj-queue")
INSERT = """
    WITH stored AS (
        INSERT INTO jobs (id, spec, state, name, queue, metadata)
        VALUES (%s, %s, 'PENDING', '', 'default', '{}')
        RETURNING id
    )
    INSERT INTO job_queue (job_id, queue, priority) SELECT id, 'default', 0 FROM stored"""
COPY_JOBS = "COPY jobs (id, spec, state, name, queue, metadata) FROM STDIN"
COPY_QUEUE = "COPY job_queue (job_id, queue, priority) FROM STDIN"


def main(rounds: int, single: int, jobs: int, peers: list[str]) -> None:
    missing: dict[str, str] = {}
    with migrated("bench_enqueue", JOBS_EXECUTORS=executors()) as url:
        others = peer_cases(peers, url, missing)
        for part in (one_by_one, together):
            empty()
            calm()
            part(rounds, single if part is one_by_one else jobs, others, missing)


def recorded() -> AbstractContextManager[Any]:
    from django.test import override_settings  # noqa: PLC0415

    execute("TRUNCATE audit_logs, outbox_events")
    return override_settings(**ON_RECORD)


def one_by_one(
    rounds: int, jobs: int, others: dict[str, Callable[..., Any]], missing: dict[str, str]
) -> None:
    from django.db import connection, transaction  # noqa: PLC0415

    from hodei.compat import uuid7  # noqa: PLC0415
    from jobs.services.queue import enqueue  # noqa: PLC0415

    def bare() -> None:
        for _ in range(jobs):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(INSERT, [uuid7(), SPEC_TEXT])

    def ours() -> None:
        for _ in range(jobs):
            with transaction.atomic():
                enqueue(spec=SPEC)

    def case(
        action: Callable[[], None], within: Callable[[], Any] = nullcontext
    ) -> Callable[[], float]:
        def measured() -> float:
            with within():
                started = time.perf_counter()
                action()
                took = time.perf_counter() - started
            if within is recorded:
                check_record(jobs)
            return jobs / took

        return measured

    bare()
    ours()
    calm()
    cases = {LIMIT: case(bare), "enqueue": case(ours)}
    label = ON_RECORD_LABEL.format("enqueue")
    if has_record():
        cases[label] = case(ours, recorded)
    peers: dict[str, Callable[[], float]] = {
        name: lambda measure=measure: measure("enqueue", jobs)["rate"]
        for name, measure in others.items()
    }
    report(
        "enqueue",
        often(cases, peers, rounds),
        unit="jobs a second",
        against=LIMIT,
        settings={"transactions": jobs, "postgresql": postgresql()},
        targets=[Target("enqueue", LIMIT, least=0.7)],
        missing=unrun(missing, "enqueue", label),
    )


def often(
    ours: dict[str, Callable[[], float]], peers: dict[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Single commits wait for the disk, whose mood changes: ours three short turns a round."""
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        for found in (in_turn(ours, 3), in_turn(peers, 1)):
            for name, values in found.items():
                figures.setdefault(name, []).extend(values)
    return figures


def together(
    rounds: int, jobs: int, others: dict[str, Callable[..., Any]], missing: dict[str, str]
) -> None:
    from django.db import connection, transaction  # noqa: PLC0415

    from hodei.compat import uuid7  # noqa: PLC0415

    def copy() -> None:
        ids = [uuid7() for _ in range(jobs)]
        with connection.cursor() as cursor:
            with cursor.copy(COPY_JOBS) as out:
                for job in ids:
                    out.write_row((job, SPEC_TEXT, "PENDING", "", "default", "{}"))
            with cursor.copy(COPY_QUEUE) as out:
                for job in ids:
                    out.write_row((job, "default", 0))

    def case(
        action: Callable[[], None], within: Callable[[], Any] = nullcontext
    ) -> Callable[[], float]:
        def measured() -> float:
            empty()
            calm()
            with within():
                started = time.perf_counter()
                with transaction.atomic():
                    action()
                took = time.perf_counter() - started
            if execute("SELECT count(*) FROM job_queue") != jobs:
                raise SystemExit("Not every job was stored.")
            if within is recorded:
                check_record(jobs)
            return jobs / took

        return measured

    cases = {COPY: case(copy), "enqueue_many": case(lambda: fill(jobs))}
    label = ON_RECORD_LABEL.format("enqueue_many")
    if has_record():
        cases[label] = case(lambda: fill(jobs), recorded)
    for name, measure in others.items():
        many = jobs if name.startswith(BULK) else min(jobs, FEW)
        words = name if name.startswith(BULK) else f"{name}, a loop of {many}"
        cases[words] = lambda measure=measure, many=many: measure("bulk", many)["rate"]
    figures = in_turn(cases, rounds)
    report(
        "enqueue_many",
        figures,
        unit="jobs a second",
        against=COPY,
        settings={"jobs": jobs, "postgresql": postgresql()},
        targets=[Target("enqueue_many", COPY, least=0.5)],
        missing=unrun(missing, "bulk", label),
    )


def unrun(missing: dict[str, str], verb: str, label: str) -> dict[str, str]:
    """What was not run of this part."""
    found = {
        name: why for name, why in missing.items() if "," not in name or name.endswith(f", {verb}")
    }
    if not has_record():
        found[label] = "This version has no setting for it."
    return found


if __name__ == "__main__":
    parser = arguments(__doc__ or "", 3, peers=True)
    parser.add_argument("--single", type=int, default=1_000, help="jobs of a round, one by one")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a round, many at once")
    given = parser.parse_args()
    main(given.rounds, given.single, given.jobs, given.peers)
