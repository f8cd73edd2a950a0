"""Run the benchmarks: ``make bench``, or ``python benchmarks/run.py NAME...`` for some of them;
``--list`` tells what there is. Each takes options of its own: ``python benchmarks/bench_NAME.py``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Every benchmark, with the minutes that it takes on two calm cores, roughly, and what it is about.
BENCHMARKS: dict[str, tuple[float, str]] = {
    "migrate": (1, "migrate beside Django's own"),
    "readiness": (1, "a readiness check, schema_status"),
    "validate": (4, "schema_validate, up to 1,000 tables"),
    "drain": (8, "running jobs, beside bare SQL and other queues"),
    "enqueue": (5, "enqueueing jobs, beside bare SQL and other queues"),
    "pickup": (15, "how soon a job begins, and what an idle worker costs"),
    "jobs_pinned": (6, "jobs while a transaction stays open"),
    "jobs_memory": (12, "memory of workers, of enqueueing and of logs; 10 GB of disk"),
    "jobs_growth": (25, "jobs beside 10,000,000 finished ones; 10 GB of disk, kept"),
    "publish": (1, "publishing events"),
    "wakeup": (4, "what it costs writers to wake the relay"),
    "relay": (5, "the relay, beside bare SQL and other outboxes"),
    "relay_memory": (1, "memory of the relay"),
    "sagas": (4, "sagas of five steps, beside bare SQL and dbos; the look for what is due"),
    "outbox_growth": (25, "events beside 10,000,000 published ones; 10 GB of disk, kept"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="without one, all of them")
    parser.add_argument("--list", action="store_true", help="tell what there is, and end")
    given = parser.parse_args()
    names = given.names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        wrong, known = ", ".join(sorted(unknown)), ", ".join(BENCHMARKS)
        parser.error(f"no benchmark is named {wrong}; there are: {known}")
    minutes = sum(BENCHMARKS[name][0] for name in names)
    for name in names:
        print(f"{name:14} {BENCHMARKS[name][0]:>3} min  {BENCHMARKS[name][1]}")
    print(f"{minutes:g} minutes together, roughly.", flush=True)
    if given.list:
        return 0
    codes = [
        subprocess.run([sys.executable, HERE / f"bench_{name}.py"], check=False).returncode
        for name in names
    ]
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
