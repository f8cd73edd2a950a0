"""Sagas of five local steps that do nothing, from start to end, and the look for what is due.

Claims: one runner process does at least ten times the workflows of dbos; a look for due sagas takes
as long beside 1,000,000 that have ended as beside none.

Ours are started one by one by a thread, each in a transaction of its own, while a runner in the
same process drives them; the same by 50 in one call; and once more with all of them started before.
dbos runs each as it is called, by one thread and by four, of which it has shown the most. Limits
are bare SQL on tables of the same use: an INSERT, five steps and an UPDATE, each committed alone,
and the same for 100 at once. A look is a claim of 100 sagas that are due, with its steps.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import CACHE, execute, migrated, postgresql, progress, recreate  # noqa: E402
from jobs_load import arguments  # noqa: E402
from measuring import Target, report  # noqa: E402
from peers import Peer, PeerMissing  # noqa: E402
from peers.queues import OTHERS  # noqa: E402
from workload import PAYLOAD, PAYLOAD_TEXT  # noqa: E402

ALONE, TOGETHER = "bare SQL, one by one", "bare SQL, 100 at once"
OURS, BULK, RUN = "started and run", "started by 50 and run", "run alone"
DBOS = OTHERS["dbos"]
WORKFLOWS = Peer(DBOS.package, DBOS.version, "run_dbos_workflow.py", beside=DBOS.beside)
STEPS, BATCH, BULKS, DUE, LONGEST = 5, 100, 50, 100, 300
LIMIT_TABLES = """
    CREATE TABLE limit_sagas (id uuid PRIMARY KEY, state text NOT NULL, input jsonb NOT NULL,
                              started_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE limit_steps (saga uuid NOT NULL, place int NOT NULL, output jsonb,
                              PRIMARY KEY (saga, place))"""
BEGIN = "INSERT INTO limit_sagas SELECT id, 'RUNNING', %s FROM unnest(%s::uuid[]) AS t (id)"
STEP = "INSERT INTO limit_steps SELECT id, %s, 'null' FROM unnest(%s::uuid[]) AS t (id)"
END = "UPDATE limit_sagas SET state = 'DONE' WHERE id = ANY(%s)"
COMPLETED = "SELECT count(*) FROM sagas WHERE outcome = 'COMPLETED'"
ENDED = """
    INSERT INTO sagas (id, saga_type, state, outcome, definition_version, steps_hash, started_at,
                       created_at, updated_at, completed_at, due_at)
    SELECT gen_random_uuid(), %s, 'COMPLETED', 'COMPLETED', 1, %s, at, at, at, at, NULL
      FROM (SELECT now() - n * interval '1 second' AS at FROM generate_series(1, %s) AS n) AS t"""


def main(rounds: int, number: int, workflows: int, ended: int, *, peers: bool) -> None:
    missing: dict[str, str] = {}
    rates: dict[str, list[float]] = {}
    looks: dict[str, list[float]] = {}
    with migrated("bench_sagas") as url:
        execute(LIMIT_TABLES)
        cases: dict[str, Callable[[], dict[str, float]]] = {
            ALONE: lambda: {ALONE: limit(number // 5, 1)},
            TOGETHER: lambda: {TOGETHER: limit(number, BATCH)},
            OURS: lambda: driven(number),
        }
        for threads in (1, 4) if peers else ():
            cases[f"dbos, {threads} threads"] = lambda threads=threads: beside(
                url, workflows * threads, threads
            )
        for turn in range(1, rounds + 1):
            for name, case in list(cases.items()):
                try:
                    found = case()
                except PeerMissing as error:
                    missing[name] = str(error)
                    del cases[name]
                    continue
                for label, rate in found.items():
                    rates.setdefault(label, []).append(rate)
                    progress(f"round {turn}/{rounds}  {label}: {rate:,.0f} a second")
        looked(looks, "beside none", rounds)
        execute(ENDED, [definition().kind, hash_of(), ended])
        beside_many = f"beside {ended:,}"
        looked(looks, beside_many, rounds)
        settings = {"sagas": number, "steps": STEPS, "ended": ended, "postgresql": postgresql()}
    report(
        "sagas",
        rates,
        unit="sagas a second",
        against=ALONE,
        settings=settings,
        targets=[
            Target(ours, f"dbos, {threads} threads", least=10)
            for ours in (OURS, BULK, RUN)
            for threads in (1, 4)
        ],
        missing=missing,
    )
    report(
        "sagas_look",
        looks,
        unit=f"milliseconds to claim {DUE}",
        against="beside none",
        settings=settings,
        targets=[Target(beside_many, "beside none", most=1.2)],
    )


def limit(number: int, at_once: int) -> float:
    from hodei.sessions import connect  # noqa: PLC0415

    calm()
    with connect("default", "limit") as session:
        started = perf_counter()
        for _ in range(0, number, at_once):
            ids = [uuid.uuid4() for _ in range(at_once)]
            session.execute(BEGIN, [PAYLOAD_TEXT, ids])
            for place in range(STEPS):
                session.execute(STEP, [place, ids])
            session.execute(END, [ids])
        return number / (perf_counter() - started)


def driven(number: int) -> dict[str, float]:
    return {OURS: overlapping(number), BULK: overlapping(number, BULKS), RUN: run_alone(number)}


def overlapping(number: int, at_once: int = 1) -> float:
    """Started by one thread, so many in each transaction, while a runner of the same process drives
    them."""
    from django.db import connections  # noqa: PLC0415

    from sagas.runner import Runner, RunnerOptions  # noqa: PLC0415
    from sagas.services.start import start, start_many  # noqa: PLC0415

    calm()
    runner = Runner(RunnerOptions(definitions=[definition()], chores=False))

    def run() -> None:
        try:
            runner.run()
        finally:
            connections.close_all()

    thread = Thread(target=run)
    begun = perf_counter()
    thread.start()
    try:
        for _ in range(0, number, at_once):
            if at_once == 1:
                start(definition().kind, PAYLOAD)
            else:
                start_many(definition().kind, [PAYLOAD] * at_once)
        while execute(COMPLETED) != number:
            if perf_counter() - begun > LONGEST:
                raise SystemExit(f"{execute(COMPLETED)} of {number} sagas were completed.")
            sleep(0.02)
        return number / (perf_counter() - begun)
    finally:
        runner.stop.set()
        runner.wake()
        thread.join()


def run_alone(number: int) -> float:
    from sagas.runner import Runner, RunnerOptions  # noqa: PLC0415
    from sagas.services.start import start  # noqa: PLC0415

    calm()
    for _ in range(number):
        start(definition().kind, PAYLOAD)
    execute("CHECKPOINT")
    started = perf_counter()
    Runner(RunnerOptions(drain=True, definitions=[definition()], chores=False)).run()
    ended = perf_counter()
    if (done := execute(COMPLETED)) != number:
        raise SystemExit(f"{done} of {number} sagas were completed.")
    return number / (ended - started)


def beside(url: str, number: int, threads: int) -> dict[str, float]:
    name = "bench_sagas_dbos"
    own = url.replace("/bench_sagas?", f"/{name}?")
    recreate(url.replace("/bench_sagas?", "/postgres?"), name)
    rate = WORKFLOWS.measure(own, "workflow", number, threads)["rate"]
    return {f"dbos, {threads} threads": rate}


def looked(looks: dict[str, list[float]], name: str, rounds: int) -> None:
    """Claim what is due, and give it back, some times for each round."""
    from hodei.sessions import connect  # noqa: PLC0415
    from sagas.leases import Leases  # noqa: PLC0415
    from sagas.services.start import start  # noqa: PLC0415

    execute("DELETE FROM sagas WHERE state <> 'COMPLETED'")
    for _ in range(DUE):
        start(definition().kind, PAYLOAD)
    execute("VACUUM (ANALYZE) sagas, saga_steps")
    execute("CHECKPOINT")
    leases = Leases("bench", [definition()])
    with connect("default", "look") as session:
        for turn in range(rounds * 5 + 2):
            started = perf_counter()
            found = leases.claim(session, DUE)
            took = (perf_counter() - started) * 1_000
            if len(found) != DUE:
                raise SystemExit(f"{len(found)} of {DUE} due sagas were claimed.")
            leases.release(session, found)
            if turn >= 2:  # statements are prepared, and pages are in memory
                looks.setdefault(name, []).append(took)
                progress(f"{name}: {took:.1f} ms")


def calm() -> None:
    execute("TRUNCATE sagas, saga_steps, saga_step_attempts, saga_audit_events, saga_locks")
    execute("TRUNCATE limit_sagas, limit_steps")
    execute("CHECKPOINT")


_known: list[type[Any]] = []


def definition() -> type[Any]:
    if not _known:
        from sagas.definition import Saga, Step, StepContext  # noqa: PLC0415
        from sagas.registry import register  # noqa: PLC0415

        def nothing(context: StepContext) -> None: ...

        @register
        class Five(Saga):
            kind = "BENCH_FIVE"
            deadline = timedelta(hours=1)
            steps = [Step(f"step {place}", nothing, local=True) for place in range(STEPS)]

        _known.append(Five)
    return _known[0]


def hash_of() -> str:
    from sagas.definition import steps_hash  # noqa: PLC0415

    return steps_hash(definition())


if __name__ == "__main__":
    parser = arguments(__doc__ or "", 3)
    parser.add_argument("--sagas", type=int, default=5_000, help="ours in a round")
    parser.add_argument("--workflows", type=int, default=200, help="of dbos, for each thread")
    parser.add_argument("--ended", type=int, default=1_000_000, help="sagas that have ended")
    parser.add_argument("--no-peers", action="store_true", help="without dbos")
    given = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    main(given.rounds, given.sagas, given.workflows, given.ended, peers=not given.no_peers)
