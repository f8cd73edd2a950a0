"""dbos: workflows of five steps that do nothing, called directly by so many threads.

usage: run_dbos_workflow.py URL workflow NUMBER THREADS
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

from dbos import DBOS
from workload import PAYLOAD

POOL, FIRST = 50, 20


def main(url: str, number: int, threads: int) -> dict[str, Any]:
    system = url.replace("postgresql://", "postgresql+psycopg://", 1)
    program = Path(sys.executable).parent / "dbos"
    subprocess.run(
        [str(program), "migrate", "--sys-db-url", system], check=True, capture_output=True
    )
    DBOS(
        config={
            "name": "bench",
            "system_database_url": system,
            "log_level": "CRITICAL",
            "console_log_level": "CRITICAL",
            "application_version": "1",
            "executor_id": "bench",
            "sys_db_pool_size": POOL,
        }
    )

    @DBOS.step(name="nothing")
    def nothing(place: int) -> None: ...

    @DBOS.workflow(name="five")
    def five(payload: Any) -> None:
        for place in range(5):
            nothing(place)

    DBOS.launch()
    for _ in range(FIRST):
        five(PAYLOAD)
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: five(PAYLOAD), range(number)))
        took = time.perf_counter() - started
    return {"rate": number / took}


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)
    print(json.dumps(main(sys.argv[1], int(sys.argv[3]), int(sys.argv[4]))), flush=True)
    # Its threads do not end by themselves.
    os._exit(0)
