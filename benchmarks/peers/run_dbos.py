"""dbos: a queue polled every 50 ms, a pool of 50; no bulk, so many in one transaction.

usage: run_dbos.py URL enqueue|bulk|drain|pickup NUMBER
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

import psycopg
import sqlalchemy
from dbos import DBOS, DBOSClient
from workload import PAYLOAD

POLL, POOL = 0.05, 50
OPTIONS = {"workflow_name": "noop", "queue_name": "bench", "app_version": "1"}
DRAINING = 200


def main(url: str, verb: str, number: int) -> dict[str, Any]:
    system = url.replace("postgresql://", "postgresql+psycopg://", 1)
    if verb != "put":
        program = Path(sys.executable).parent / "dbos"
        subprocess.run(
            [str(program), "migrate", "--sys-db-url", system], check=True, capture_output=True
        )
    client = DBOSClient(system_database_url=system)
    if verb == "put":
        for _ in range(number):
            time.sleep(random.uniform(0.02, 0.08))  # noqa: S311
            client.enqueue(
                {**OPTIONS, "workflow_name": "clock"}, {"at": time.perf_counter(), **PAYLOAD}
            )
        return {}
    client.register_queue("bench", polling_interval_sec=POLL)
    started = time.perf_counter()
    if verb == "enqueue":
        for _ in range(number):
            client.enqueue(OPTIONS, PAYLOAD)
    elif verb in {"bulk", "drain"}:
        with sqlalchemy.create_engine(system).begin() as session:
            for _ in range(number):
                client.enqueue_in_transaction(session, OPTIONS, PAYLOAD)
    took = time.perf_counter() - started
    client.destroy()
    if verb in {"enqueue", "bulk"}:
        return {"rate": number / took, "bulk": False}
    return Worker(url, system).measure(verb, number)


class Worker:
    def __init__(self, url: str, system: str) -> None:
        self.url, self.system = url, system
        self.mutex = threading.Lock()
        self.first = 0.0
        self.ran = 0
        self.delays: list[float] = []

    def measure(self, verb: str, number: int) -> dict[str, Any]:
        with psycopg.connect(self.url, autocommit=True) as session:
            session.execute("VACUUM ANALYZE")
            session.execute("CHECKPOINT")
        self.launch()
        if verb == "drain":
            return {"rate": number / self.drained(number)}
        time.sleep(1.5)
        subprocess.run([sys.executable, __file__, self.url, "put", str(number)], check=True)
        time.sleep(2)
        return {"seconds": self.delays}

    def launch(self) -> None:
        DBOS(
            config={
                "name": "bench",
                "system_database_url": self.system,
                "log_level": "CRITICAL",
                "console_log_level": "CRITICAL",
                "application_version": "1",
                "executor_id": "bench",
                "sys_db_pool_size": POOL,
            }
        )

        @DBOS.workflow(name="noop")
        def noop(payload: Any) -> None:
            with self.mutex:
                self.first = self.first or time.perf_counter()
                self.ran += 1

        @DBOS.workflow(name="clock")
        def clock(payload: Any) -> None:
            self.delays.append(time.perf_counter() - payload["at"])

        DBOS.launch()

    def drained(self, number: int) -> float:
        """Seconds from the first run to the last row that says so."""
        end = time.perf_counter() + DRAINING
        with psycopg.connect(self.url, autocommit=True) as session:
            while time.perf_counter() < end:
                time.sleep(0.02)
                if self.ran < number:
                    continue
                left = session.execute(
                    "SELECT count(*) FROM dbos.workflow_status WHERE status <> 'SUCCESS'"
                ).fetchone()
                if left == (0,):
                    return time.perf_counter() - self.first
        raise SystemExit(f"{self.ran} of {number} jobs were run within {DRAINING} s.")


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))), flush=True)
    # Its threads do not end by themselves.
    os._exit(0)
