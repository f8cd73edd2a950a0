"""procrastinate with its own connector, 20 at once, which is quicker than in Django's.

usage: run_procrastinate.py URL enqueue|bulk|drain|pickup NUMBER
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from workload import PAYLOAD

CHUNK, SLOTS = 5_000, 20


def app_of(connector: Any, delays: list[float] | None = None) -> tuple[App, Any, Any]:
    app = App(connector=connector)

    @app.task(name="noop")
    async def noop(**payload: Any) -> None: ...

    @app.task(name="clock")
    async def clock(at: float, **payload: Any) -> None:
        if delays is not None:
            delays.append(time.perf_counter() - at)

    return app, noop, clock


def synchronous(url: str) -> tuple[App, Any, Any]:
    return app_of(SyncPsycopgConnector(conninfo=url, min_size=1, max_size=1))


def fill(task: Any, number: int) -> None:
    for first in range(0, number, CHUNK):
        task.batch_defer(*[PAYLOAD] * min(CHUNK, number - first))


def calm(url: str) -> None:
    import psycopg  # noqa: PLC0415

    with psycopg.connect(url, autocommit=True) as session:
        session.execute("VACUUM ANALYZE")
        session.execute("CHECKPOINT")


async def drain(url: str) -> float:
    app, _, _ = app_of(PsycopgConnector(conninfo=url, min_size=1, max_size=16))
    async with app.open_async():
        started = time.perf_counter()
        await app.run_worker_async(
            wait=False, concurrency=SLOTS, install_signal_handlers=False, listen_notify=False
        )
        return time.perf_counter() - started


async def pickup(url: str, number: int) -> list[float]:
    delays: list[float] = []
    app, _, _ = app_of(PsycopgConnector(conninfo=url, min_size=1, max_size=8), delays)
    async with app.open_async():
        worker = asyncio.create_task(
            app.run_worker_async(concurrency=10, install_signal_handlers=False)
        )
        await asyncio.sleep(1.5)
        other = await asyncio.create_subprocess_exec(
            sys.executable, __file__, url, "put", str(number)
        )
        await other.wait()
        await asyncio.sleep(1)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return delays


def put(task: Any, number: int) -> None:
    for _ in range(number):
        time.sleep(random.uniform(0.02, 0.05))  # noqa: S311
        task.defer(at=time.perf_counter(), **PAYLOAD)


def main(url: str, verb: str, number: int) -> dict[str, Any]:
    app, noop, clock = synchronous(url)
    with app.open():
        if verb == "put":
            put(clock, number)
            return {}
        app.schema_manager.apply_schema()
        started = time.perf_counter()
        if verb == "enqueue":
            for _ in range(number):
                noop.defer(**PAYLOAD)
        elif verb == "bulk":
            fill(noop, number)
        if verb in {"enqueue", "bulk"}:
            return {"rate": number / (time.perf_counter() - started), "bulk": True}
        if verb == "drain":
            fill(noop, number)
    if verb == "pickup":
        return {"seconds": asyncio.run(pickup(url, number))}
    calm(url)
    took = asyncio.run(drain(url))
    import psycopg  # noqa: PLC0415

    with psycopg.connect(url) as session:
        done = session.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
        ).fetchone()
    if done != (number,):
        raise SystemExit(f"{done} of {number} jobs are done.")
    return {"rate": number / took}


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
