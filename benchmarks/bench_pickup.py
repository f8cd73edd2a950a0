"""How soon an idle worker begins a job that comes, and what it costs to wait for one.

Claims: half of the jobs begin within 5 ms and 99 of 100 within 20 ms; an idle worker needs next to
no processor, and asks the database at most once a second.

A delay is from before ``enqueue`` to the begin of the run, so the commit is in; jobs come alone, 20
to 50 ms apart, with peers that only poll a little further. The limit is an INSERT that notifies,
somebody who listens, and a claim. Peers that poll do it as often as they can without harm, which
their scripts say. Queries are the statements that the server logs in the database of the worker
alone, BEGIN and COMMIT among them: what the server does there by itself is not logged. The
processor is that of its process and of its server processes. ``--only-idle`` measures what waiting
costs, and no pick-up.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import CACHE, execute, migrated, postgresql, progress  # noqa: E402
from jobs_load import arguments, calm, empty, executors, peer_cases, workers  # noqa: E402
from measuring import Target, percentile, report  # noqa: E402
from workload import PAYLOAD  # noqa: E402

LIMIT, OURS = "bare SQL", "jobs_worker"
PAUSES = (0.02, 0.05)
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]+): ")
LIMIT_TABLE = """
    CREATE TABLE limit_pickup (id uuid PRIMARY KEY DEFAULT uuidv7(), spec jsonb NOT NULL,
                               state smallint NOT NULL DEFAULT 0);
    CREATE INDEX ON limit_pickup (id) WHERE state = 0"""
PUT = """
    WITH stored AS (INSERT INTO limit_pickup (spec) VALUES (%s))
    SELECT pg_notify('bench_pickup', '')"""
TAKE = """
    UPDATE limit_pickup SET state = 1
     WHERE id = (SELECT id FROM limit_pickup WHERE state = 0 ORDER BY id LIMIT 1
                    FOR UPDATE SKIP LOCKED)
    RETURNING spec"""


def main(rounds: int, jobs: int, idle: int, peers: list[str], *, only_idle: bool) -> None:
    missing: dict[str, str] = {}
    figures: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    with migrated("bench_pickup", JOBS_EXECUTORS=executors("clock")) as url:
        execute(LIMIT_TABLE)
        cases: dict[str, Callable[[], list[float]]] = {}
        if not only_idle:
            found = peer_cases(peers, url, missing)
            cases = {
                LIMIT: lambda: limit(jobs),
                OURS: lambda: picked_up(jobs),
                **{
                    label: lambda measure=measure: measure("pickup", jobs)["seconds"]
                    for label, measure in found.items()
                },
            }
        for number in range(1, rounds + 1):
            for name, case in cases.items():
                delays = [delay * 1_000 for delay in case()]
                for share in (50, 99) if delays else ():
                    value = percentile(delays, share / 100)
                    figures.setdefault(f"{name}, p{share}", []).append(value)
                progress(f"round {number}/{rounds}  {name}: {len(delays)} jobs")
            for name, value in resting(idle, url).items():
                costs.setdefault(name, []).append(value)
        settings = {"jobs": jobs, "postgresql": postgresql()}
    if not only_idle:
        report(
            "pickup",
            figures,
            unit="milliseconds",
            against=f"{LIMIT}, p50",
            settings=settings,
            targets=[Target(f"{OURS}, p50", most=5), Target(f"{OURS}, p99", most=20)],
            missing=missing,
        )
    report(
        "idle",
        costs,
        unit="queries, or milliseconds of a processor, a second",
        against="queries",
        settings={"seconds": idle, "postgresql": settings["postgresql"]},
        targets=[Target("queries", most=1), Target("processor, worker", most=10)],
    )


def picked_up(jobs: int) -> list[float]:
    from jobs.services.queue import enqueue  # noqa: PLC0415

    def put() -> None:
        enqueue(spec={"clock": {"at": time.perf_counter(), **PAYLOAD}})

    empty()
    calm()
    with tempfile.TemporaryDirectory() as folder:
        clock = Path(folder) / "clock"
        clock.touch()
        os.environ["BENCH_CLOCK"] = str(clock)
        with workers(1) as ours:
            ours.begin()
            put()
            wait(lambda: len(lines(clock)) == 1)
            time.sleep(1)
            for _ in range(jobs):
                time.sleep(random.uniform(*PAUSES))  # noqa: S311
                put()
            wait(lambda: len(lines(clock)) == jobs + 1)
            ours.stop()
            ours.hear()
        return [float(line) for line in lines(clock)[1:]]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def wait(done: Callable[[], bool]) -> None:
    end = time.perf_counter() + 30
    while not done():
        if time.perf_counter() > end:
            raise SystemExit("Not every job was run.")
        time.sleep(0.01)


def limit(jobs: int) -> list[float]:
    from hodei.sessions import connect  # noqa: PLC0415

    delays: list[float] = []
    ready = threading.Event()

    def take() -> None:
        with connect("default", "limit") as session, connect("default", "limit") as listener:
            listener.execute("LISTEN bench_pickup")
            ready.set()
            for _ in listener.notifies(timeout=60):
                row = session.execute(TAKE).fetchone()
                if row is not None:
                    delays.append(time.perf_counter() - row[0]["at"])
                if len(delays) == jobs:
                    return

    execute("TRUNCATE limit_pickup")
    taker = threading.Thread(target=take)
    taker.start()
    ready.wait()
    with connect("default", "limit") as session:
        for _ in range(jobs):
            time.sleep(random.uniform(*PAUSES))  # noqa: S311
            session.execute(PUT, [json.dumps({"at": time.perf_counter(), **PAYLOAD})])
    taker.join()
    return delays


def resting(seconds: int, url: str) -> dict[str, float]:
    """What a worker costs a second while there is nothing to do."""
    import psycopg  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    empty()
    connections.close_all()
    name = url.rpartition("/")[2].partition("?")[0]
    admin = url.replace(f"/{name}?", "/postgres?")
    logging = f'ALTER DATABASE "{name}" {{}} log_statement'
    with (
        tempfile.NamedTemporaryFile() as clock,
        psycopg.connect(admin, autocommit=True) as session,
    ):
        os.environ["BENCH_CLOCK"] = clock.name
        # Of sessions that begin from now on.
        session.execute(f"{logging.format('SET')} = 'all'")
        try:
            with workers(1) as ours:
                ours.begin()
                # Its start, and the pauses that grow to the longest.
                time.sleep(8)
                before = spent(session, name, ours.processes[0].pid)
                time.sleep(seconds)
                after = spent(session, name, ours.processes[0].pid)
                ours.stop()
                ours.hear()
        finally:
            session.execute(logging.format("RESET"))
    return {key: (after[key] - before[key]) / seconds for key in before}


def spent(session: Any, name: str, process: int) -> dict[str, float]:
    """So far: statements of the database's sessions, and milliseconds of processors."""
    servers = session.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
        [name],
    ).fetchall()
    return {
        "queries": float(statements()),
        "processor, worker": processor(process),
        "processor, its server processes": sum(processor(pid) for (pid,) in servers),
    }


def statements() -> int:
    """How many statements the server has logged so far, in all databases that it logs."""
    from hodei.db.embedded.location import locate  # noqa: PLC0415

    return len(STATEMENT.findall(locate(CACHE).log.read_text(errors="replace")))


def processor(process: int) -> float:
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e6
    except OSError:
        return 0.0


if __name__ == "__main__":
    parser = arguments(__doc__ or "", 3, peers=True)
    parser.add_argument("--jobs", type=int, default=300, help="jobs of a round")
    parser.add_argument("--idle", type=int, default=60, help="seconds of doing nothing")
    parser.add_argument("--only-idle", action="store_true", help="measure no pick-up")
    given = parser.parse_args()
    main(given.rounds, given.jobs, given.idle, given.peers, only_idle=given.only_idle)
