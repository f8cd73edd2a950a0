"""Whether jobs suffer from a transaction that stays open for long, so that no dead row can go.

Claims, with such a transaction for 3 minutes while 800 jobs a second come: a worker still keeps up,
and what it could do at most falls by less than a tenth; the small tables grow by what has died
meanwhile, and no further once the transaction has ended.

Before, at the end of these minutes, and after them: 20,000 jobs are drained at once, for what a
worker could do at most. In between jobs come in steps of a twentieth of a second, and it is counted
how many have ended in each of the last ten seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import execute, migrated, postgresql, progress  # noqa: E402
from jobs_load import arguments, calm, empty, executors, fill, workers  # noqa: E402
from measuring import Target, report  # noqa: E402

STEP = 0.05
#: Seconds at the end of a phase in which ends are counted.
COUNTED = 10
HOT = ("job_queue", "job_leases", "job_queue_deferred", "jobs")
FREE, PINNED, AFTER = "before", "pinned", "after"


def main(rounds: int, seconds: int, rate: int, jobs: int) -> None:
    rates: dict[str, list[float]] = {}
    drains: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    with migrated("bench_jobs_pinned", JOBS_EXECUTORS=executors()):
        for number in range(1, rounds + 1):
            empty()
            calm()
            short = max(COUNTED, seconds // 6)
            note(rates, FREE, flow(short, rate))
            note(drains, FREE, drained(jobs))
            measure(sizes, FREE)
            with pinned():
                note(rates, PINNED, flow(seconds, rate))
                note(drains, PINNED, drained(jobs))
                measure(sizes, PINNED)
            calm()
            note(rates, AFTER, flow(short, rate))
            note(drains, AFTER, drained(jobs))
            calm()
            measure(sizes, AFTER)
            progress(f"round {number}/{rounds}  rates {rates}, drains {drains}, MiB {sizes}")
        settings = {
            "seconds pinned": seconds,
            "jobs a second": rate,
            "jobs of a drain": jobs,
            "postgresql": postgresql(),
        }
    report(
        "jobs_pinned",
        rates,
        unit="jobs ended a second",
        against=FREE,
        settings=settings,
        targets=[Target(PINNED, FREE, least=0.9)],
    )
    report(
        "jobs_pinned_drain",
        drains,
        unit="jobs a second",
        against=FREE,
        settings=settings,
        targets=[Target(PINNED, FREE, least=0.9)],
    )
    report(
        "jobs_pinned_size",
        sizes,
        unit="MiB with indexes",
        against=f"job_queue, {FREE}",
        settings=settings,
        targets=[
            Target(f"{table}, {AFTER}", f"{table}, {PINNED}", most=1.1)
            for table in ("job_queue", "job_leases")
        ],
    )


def note(figures: dict[str, list[float]], name: str, value: float) -> None:
    figures.setdefault(name, []).append(value)


def measure(sizes: dict[str, list[float]], phase: str) -> None:
    for table in HOT:
        found = execute("SELECT pg_total_relation_size(%s::regclass)", [table])
        note(sizes, f"{table}, {phase}", found / 2**20)


@contextmanager
def pinned() -> Iterator[None]:
    """A transaction that has a snapshot and a number, and does nothing."""
    from hodei.sessions import connect  # noqa: PLC0415

    with connect("default", "long transaction") as session:
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        session.execute("SELECT pg_current_xact_id()")
        try:
            yield
        finally:
            session.execute("ROLLBACK")


def flow(seconds: int, rate: int) -> float:
    """Jobs come for so long; how many ended in each of the last seconds."""
    part = max(round(rate * STEP), 1)
    with workers(1) as ours:
        ours.begin()
        started = time.perf_counter()
        counted_at, before = 0.0, 0
        for step in range(round(seconds / STEP)):
            if not counted_at and (step + 1) * STEP > seconds - COUNTED:
                counted_at, before = time.perf_counter(), ended()
            fill(part)
            time.sleep(max(started + (step + 1) * STEP - time.perf_counter(), 0))
        found = (ended() - before) / (time.perf_counter() - counted_at)
        end = time.perf_counter() + 120
        while execute("SELECT count(*) FROM job_queue"):
            if time.perf_counter() > end:
                raise SystemExit("The worker does not catch up.")
            time.sleep(0.2)
        ours.stop()
        ours.hear()
    return found


def ended() -> int:
    return int(execute("SELECT count(*) FROM jobs WHERE state = 'SUCCEEDED'"))


def drained(jobs: int) -> float:
    fill(jobs)
    with workers(1, drain=True) as ours:
        started = time.perf_counter()
        ours.begin()
        (told,) = ours.hear()
        took = time.perf_counter() - started
    if told["runs"] != jobs:
        raise SystemExit(f"{told['runs']} of {jobs} jobs were run.")
    return jobs / took


def _arguments() -> Any:
    parser = arguments(__doc__ or "", 1)
    parser.add_argument("--seconds", type=int, default=180, help="how long it is pinned")
    parser.add_argument("--rate", type=int, default=800, help="jobs that come in a second")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a drain")
    given = parser.parse_args()
    if given.seconds < COUNTED:
        parser.error(f"--seconds is {given.seconds}; it is at least {COUNTED}.")
    return given


if __name__ == "__main__":
    words = _arguments()
    main(words.rounds, words.seconds, words.rate, words.jobs)
