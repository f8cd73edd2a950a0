"""pgqueuer on asyncpg and uvloop, batches of 500; jobs that are done move into its log.

usage: run_pgqueuer.py URL enqueue|bulk|drain|pickup NUMBER
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode
from workload import PAYLOAD, PAYLOAD_TEXT

CHUNK, BATCH = 5_000, 500
DATA = PAYLOAD_TEXT.encode()


async def fill(queries: Queries, number: int) -> None:
    for first in range(0, number, CHUNK):
        size = min(CHUNK, number - first)
        await queries.enqueue(["noop"] * size, [DATA] * size, [0] * size)


async def run(url: str, verb: str, number: int) -> dict[str, Any]:
    session = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(session))
    try:
        if verb == "put":
            for _ in range(number):
                await asyncio.sleep(random.uniform(0.02, 0.05))  # noqa: S311
                data = json.dumps({"at": time.perf_counter(), **PAYLOAD})
                await queries.enqueue("clock", data.encode())
            return {}
        started = time.perf_counter()
        if verb == "enqueue":
            for _ in range(number):
                await queries.enqueue("noop", DATA)
        elif verb == "bulk":
            await fill(queries, number)
        if verb in {"enqueue", "bulk"}:
            return {"rate": number / (time.perf_counter() - started), "bulk": True}
        if verb == "pickup":
            return {"seconds": await pickup(url, number)}
        await fill(queries, number)
        await session.execute("VACUUM ANALYZE")
        await session.execute("CHECKPOINT")
        return {"rate": number / await drain(url, number)}
    finally:
        await session.close()


async def drain(url: str, number: int) -> float:
    session = await asyncpg.connect(url)
    worker = PgQueuer(AsyncpgDriver(session))
    done = 0

    @worker.entrypoint("noop")
    async def noop(job: Any) -> None:
        nonlocal done
        done += 1

    started = time.perf_counter()
    await worker.run(
        mode=QueueExecutionMode.drain, batch_size=BATCH, dequeue_timeout=timedelta(seconds=1)
    )
    took = time.perf_counter() - started
    if done != number:
        raise SystemExit(f"{done} of {number} jobs were run.")
    return took


async def pickup(url: str, number: int) -> list[float]:
    worker = PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))
    delays: list[float] = []

    @worker.entrypoint("clock")
    async def clock(job: Any) -> None:
        delays.append(time.perf_counter() - float(json.loads(job.payload)["at"]))

    running = asyncio.create_task(worker.run())
    await asyncio.sleep(1.5)
    other = await asyncio.create_subprocess_exec(sys.executable, __file__, url, "put", str(number))
    await other.wait()
    await asyncio.sleep(1)
    worker.shutdown.set()
    await asyncio.wait([running], timeout=5)
    return delays


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)
    if sys.argv[2] != "put":
        subprocess.run(
            [str(Path(sys.executable).parent / "pgq"), "--pg-dsn", sys.argv[1], "install"],
            check=True,
            capture_output=True,
        )
    print(json.dumps(uvloop.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
