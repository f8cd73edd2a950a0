"""A worker for benchmarks: run_worker.py OPTIONS, those of WorkerOptions as JSON.

It says ``{}`` when it is ready, begins with the first line that it is told, ends with the next one,
or by itself if it drains, and says what it has run, and the memory that it had at most, in KiB.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from database import set_up


def main(options: dict[str, Any]) -> None:
    set_up(os.environ["DATABASE_URL"])
    from jobs.registry import executors  # noqa: PLC0415
    from jobs.worker import Worker, WorkerOptions  # noqa: PLC0415

    executors()
    stop = threading.Event()
    worker = Worker(WorkerOptions(**options), stop=stop)
    print("{}", flush=True)
    sys.stdin.readline()

    def listen() -> None:
        sys.stdin.readline()
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    worker.run()
    print(json.dumps({"runs": worker.runs, "peak": peak()}), flush=True)
    os._exit(0)


def peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
